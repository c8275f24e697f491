"""What an optimizer is: asked for proposals, told results, rebuilt from history."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable

from autorl.spec.section import Spec
from autorl.spec.space import SearchSpace
from autorl.trial import Proposal, Standing, TrialResult


class Wait(enum.Enum):
    """Type of `WAIT`."""

    WAIT = enum.auto()


WAIT: Final = Wait.WAIT
"""The answer of an optimizer that has nothing to propose until it is told more."""


class NoOptions(Spec):
    """The options of an optimizer that has none."""


@dataclass(frozen=True)
class Question:
    """What an optimizer is to answer.

    Attributes:
        space: where it may look.
        seeds: the tuning seeds.
        points: environment steps at which runs are evaluated and may pause, ascending; the last is a full run.
        direction: what is better; of several objectives, in the first.
        seed: of the proposals.
        budget: environment steps that the runs of all proposals may take together, or None if only time limits them.
        test_seeds: how many seeds the study tests its winner on.
        options: the study's options for this optimizer, an instance of its `Method.options`.
        others: of several objectives, what is better in those after the first.
        bounds: of each constraint, (sign, bound): sign x value may not be above sign x bound.
        given: how many of the first trials may be others' choice: the default and those that the user enqueued.
    """

    space: SearchSpace
    seeds: tuple[int, ...]
    points: tuple[int, ...]
    direction: Literal["maximize", "minimize"]
    seed: int
    budget: int | None = None
    test_seeds: int = 10
    options: Any = field(default_factory=NoOptions)
    others: tuple[Literal["maximize", "minimize"], ...] = ()
    bounds: tuple[tuple[float, float], ...] = ()
    given: int = 1

    @property
    def directions(self) -> tuple[Literal["maximize", "minimize"], ...]:
        """What is better in each objective."""
        return (self.direction, *self.others)

    @property
    def until(self) -> int:
        """Environment steps of a full run."""
        return self.points[-1]

    def point_at(self, fraction: float) -> int:
        """Return the first evaluation point at or after a fraction (at most 1) of a full run."""
        # 3 * 0.1 is a little more than 0.3.
        return next(point for point in self.points if point >= fraction * self.until * (1 - 1e-9))

    def draw(self, number: int) -> int:
        """Return the seed (32 bits) of whatever the proposal of this number draws."""
        return int.from_bytes(hashlib.sha256(f"autorl:{self.seed}:{number}".encode()).digest()[:4], "big")


class Optimizer(Protocol):
    """Proposes what to train.

    Proposals are numbered from 0. For each number the engine calls `ask` until it is given a proposal, then `take`
    with what is trained in fact: the proposal as it was, or with another configuration (the default configuration and
    those that the user enqueued come first, at the fidelity that the optimizer chose; a table of results holds only
    some).
    When a study goes on, `take` is called alone. Results are told in the order of the numbers, each at most once.

    An optimizer draws from nothing but its question, the number, and what it took and was told before it was asked; so
    an interrupted study proposes what it would have proposed. Its state after `ask` and `take` is the state after
    `take` alone. Every implementation passes `tests/conformance/optimizers.py`.
    """

    reads: Literal["nothing", "values", "curves"]
    """What of the results it uses. Proposals of one that reads nothing need not wait for any."""

    def ask(self, number: int) -> Proposal | Wait | None:
        """Propose, or `WAIT` for the next result, or None when there is nothing left to try."""
        ...

    def take(self, number: int, proposal: Proposal) -> None:
        """Take note of what is trained under this number."""
        ...

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn what came of a proposal."""
        ...

    def needed(self) -> Collection[int]:
        """Return the trials whose checkpoints a later proposal may start from; those of all others are removed."""
        ...

    def ranking(self) -> Sequence[Standing]:
        """Return the trials that may be named the best, the best first; empty where values alone decide.

        Without it, trials are ranked by how far they were trained, then by their objective.
        """
        ...


@runtime_checkable
class Forking(Optimizer, Protocol):
    """An optimizer that starts trials from the checkpoints of others, under configurations of their own."""

    @property
    def forked(self) -> Collection[str]:
        """Names of the parameters that may differ from the trial that is started from."""
        ...


@dataclass(frozen=True)
class Method:
    """An optimizer as it is found by entry point (`autorl.optimizers`).

    Attributes:
        make: makes it for a question.
        options: keys that a study file may set beside `optimizer.name`, and what they allow.
        caveat: what it cannot promise, for `autorl validate`; a sentence, or empty.
        extra: the extra that installs its library, or empty.
        single: whether a proposal may be for one run alone, so that it takes more of them to keep all workers busy.
        several: whether it can look for the trade-offs between several objectives.
        constrained: whether it keeps to constraints.
    """

    make: Callable[[Question], Optimizer]
    options: type[Spec] = NoOptions
    caveat: str = ""
    extra: str = ""
    single: bool = False
    several: bool = False
    constrained: bool = False
