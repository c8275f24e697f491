"""What an optimizer is: asked for proposals, told results, rebuilt from history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from autorl.spec.space import SearchSpace
from autorl.trial import Proposal, TrialResult


@dataclass(frozen=True)
class Question:
    """What an optimizer is to answer.

    Attributes:
        space: where it may look.
        seeds: the tuning seeds.
        until: environment steps of a full run.
        direction: what is better.
        seed: of the proposals.
    """

    space: SearchSpace
    seeds: tuple[int, ...]
    until: int
    direction: Literal["maximize", "minimize"]
    seed: int


class Optimizer(Protocol):
    """Proposes trials. Implementations are found by entry point (`autorl.optimizers`): callables of a `Question`.

    Trials are numbered in the order of their proposals, from 0. Each number is either asked for or, when a study goes
    on, restored; each is told at most once, in the order of the numbers. An optimizer draws from nothing but its
    question, the trial's number, and what it was told before it was asked, so a study that was interrupted proposes
    what it would have proposed. Every implementation passes `tests/conformance/optimizers.py`.
    """

    independent: bool
    """Whether proposals ignore results, so that none needs to wait for any."""

    def ask(self, number: int) -> Proposal | None:
        """Propose the trial of this number, or None when there is nothing left to try."""
        ...

    def restore(self, number: int, proposal: Proposal) -> None:
        """Take a trial that was proposed before as asked for."""
        ...

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn what came of a trial."""
        ...


Factory = Callable[[Question], Optimizer]
