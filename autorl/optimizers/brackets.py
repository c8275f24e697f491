"""What methods that begin with short runs share: the fidelities they train to, and Hyperband's brackets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from autorl.errors import AutorlError
from autorl.optimizers.protocol import Question
from autorl.optimizers.seeds import SeedsOptions
from autorl.spec.section import Whole


class FidelityOptions(SeedsOptions):
    """How short runs may be, how many of them are followed by longer ones, and on how many seeds."""

    reduction_factor: Whole = Field(
        default=3,
        ge=2,
        le=1000,
        description="One in so many trials is trained further, to about so many times the steps.",
    )
    min_fraction: float = Field(
        default=0.1, gt=0, lt=1, description="Smallest fidelity: the shortest runs, as a fraction of a full run."
    )


def ladder(question: Question) -> tuple[int, ...]:
    """Return the environment steps of the fidelities, ascending: min_fraction · η^k of a full run, the last a full run.

    There are ⌊log_η(1 / min_fraction)⌋ + 1 of them, each at the next evaluation point; those that share one are one.

    Raises:
        AutorlError: there is only one.
    """
    options: FidelityOptions = question.options
    shortest, factor = options.min_fraction, options.reduction_factor
    # Powers of the factor may miss a full run, or a point, by a rounding error.
    last = math.floor(math.log(1 / shortest, factor) + 1e-9)
    found = {question.point_at(shortest * factor**rung) for rung in range(last)}
    found.add(question.until)
    if len(found) < 2:
        raise AutorlError(
            f"optimizer.min_fraction: {shortest:g} with reduction_factor {factor} and {len(question.points)} "
            f"evaluation points leaves no run shorter than a full one; lower 'min_fraction' to at most "
            f"{1 / factor:.2g}, or raise evaluation.points"
        )
    return tuple(sorted(found))


def bracket_sizes(fidelities: int, factor: int) -> list[list[int]]:
    """Return how many configurations each rung of each bracket trains (Li et al. 2018, JMLR 18(185), algorithm 1).

    Bracket s = s_max, ..., 0 starts n = ⌈(s_max + 1) / (s + 1) · η^s⌉ configurations at fidelity s_max − s, and rung i
    has ⌊n / η^i⌋ of them.
    """
    sizes = []
    for s in reversed(range(fidelities)):
        started = -(-fidelities * factor**s // (s + 1))
        sizes.append([started // factor**rung for rung in range(s + 1)])
    return sizes


def best_first(results: Sequence[tuple[float, int]]) -> list[int]:
    """Return the trials of (value, trial), the highest value first, of equal ones the earlier."""
    return [trial for _, trial in sorted(results, key=lambda result: -result[0])]


class Bracket:
    """Successive halving: rungs of a given size, each promoting its best to the next when all its results are known.

    Failed trials are not promoted; if too few are left, the next rung is smaller.

    Attributes:
        first: which of the fidelities the first rung trains to.
        rung: the one in progress, counted from 0.
        sizes: proposals of each rung.
        promoted: trials that the rung in progress is yet to train further, the best first; empty in the first.
    """

    def __init__(self, sizes: Sequence[int], first: int) -> None:
        self.sizes, self.first, self.rung = list(sizes), first, 0
        self.promoted: list[int] = []
        self._taken = 0
        self._untold: set[int] = set()
        self._results: list[tuple[float, int]] = []

    @property
    def fidelity(self) -> int:
        """Which of the fidelities the rung in progress trains to."""
        return self.first + self.rung

    @property
    def due(self) -> bool:
        """Whether there is something to propose before more results are known."""
        return not self.over and self._taken < self.sizes[self.rung]

    @property
    def over(self) -> bool:
        """Whether all results are known, or nothing is left to promote."""
        return self.rung == len(self.sizes)

    def take(self, trial: int) -> None:
        """Take note that a trial is trained in the rung in progress."""
        self._taken += 1
        self._untold.add(trial)
        self.promoted = self.promoted[1:]

    def tell(self, trial: int, value: float | None) -> None:
        """Learn a trial's value, the higher the better, or None if it failed."""
        self._untold.remove(trial)
        if value is not None:
            self._results.append((value, trial))
        if not self._untold and not self.due:
            self._promote()

    def _promote(self) -> None:
        self.rung += 1
        if not self._results:
            self.rung = len(self.sizes)
        if not self.over:
            self.promoted = best_first(self._results)[: self.sizes[self.rung]]
            self.sizes[self.rung] = len(self.promoted)
        self._taken, self._results = 0, []

    def needed(self) -> set[int]:
        """Return the trials that it may still train further."""
        found = set(self.promoted)
        if self.rung < len(self.sizes) - 1:
            found |= self._untold | set(best_first(self._results)[: self.sizes[self.rung + 1]])
        return found


class Brackets:
    """Hyperband's brackets in turn. While one waits for results, the next ones begin, so that no worker idles.

    Args:
        fidelities: how many there are.
        factor: η.
    """

    def __init__(self, fidelities: int, factor: int) -> None:
        self._sizes = bracket_sizes(fidelities, factor)
        self._begun = 0
        self._open: list[Bracket] = []
        self._pending: dict[int, tuple[Bracket, int]] = {}

    def due(self) -> Bracket:
        """Return the bracket of the next proposal: the oldest with something to propose, or a new one."""
        for bracket in self._open:
            if bracket.due:
                return bracket
        first = self._begun % len(self._sizes)
        return Bracket(self._sizes[first], first)

    def take(self, number: int, trial: int) -> None:
        """Take note of a proposal of the bracket that is due."""
        bracket = self.due()
        if bracket not in self._open:
            self._open.append(bracket)
            self._begun += 1
        bracket.take(trial)
        self._pending[number] = bracket, trial

    def tell(self, number: int, value: float | None) -> None:
        """Learn the value of a proposal, the higher the better, or None if it failed."""
        bracket, trial = self._pending.pop(number)
        bracket.tell(trial, value)
        if bracket.over:
            self._open.remove(bracket)

    def needed(self) -> set[int]:
        """Return the trials that their brackets may still train further."""
        return {trial for bracket in self._open for trial in bracket.needed()}
