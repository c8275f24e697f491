"""The record of every study: Optuna's tables, and autorl's own beside them, which are the truth."""
