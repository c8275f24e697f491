"""Propose configurations: one protocol, and one file an adapter."""
