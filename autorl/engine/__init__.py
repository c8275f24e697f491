"""Conduct a study: tune, choose the winner, test."""
