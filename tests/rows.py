"""Rows of a ledger, written through its writer as the engine writes them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from autorl.ledger.book import Book
from autorl.ledger.records import ProposalRecord, TrialProgress, TrialRecord
from autorl.spec.space import Configuration
from autorl.trial import Recipe


def add_trial(
    book: Book, number: int, config: Configuration, recipe: Recipe, seeds: Sequence[int], until: int | None = None
) -> None:
    """Propose a trial on some seeds, in full unless said otherwise."""
    proposal = ProposalRecord(number, number, tuple(seeds), until or recipe.env_steps, None, 0, {})
    book.add_proposal(proposal, new_trial(number, config, recipe), {})


def new_trial(number: int, config: Configuration, recipe: Recipe) -> TrialRecord:
    """Return a trial that has just been proposed."""
    return TrialRecord(number, "optimizer" if number else "default", config, recipe, time.time())


def stands(value: float | None, env_steps: int = 128, seeds: int = 2) -> TrialProgress:
    """Return how a trial stands that has been trained in full, or that failed."""
    if value is None:
        return TrialProgress("failed", None, 0, 0)
    return TrialProgress("completed", value, env_steps, seeds)
