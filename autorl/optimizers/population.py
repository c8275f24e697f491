"""Populations that train together: what population-based training, PB2 and BG-PBT have in common.

A population trains in generations of one interval each. When the whole generation has been told, the members at the
bottom are replaced by forks of those at the top: trials that start from a top member's checkpoints under a new
configuration. All others go on. This is truncation selection (Jaderberg et al. 2017, arXiv 1711.09846, section 4.1.1,
where bottom and top are 20 % each; here 25 % by default, as in Ray Tune). The hyperparameter schedule of a member is
its lineage, from fork to fork (`Proposal.resume_from`).

Generations are synchronous. Members that are compared have then trained equally long, which the paper leaves to a
population that keeps step by itself, and what is proposed cannot depend on which run happened to end first. The price
is workers that idle at the end of a generation, when the population is no multiple of their number.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from autorl.errors import AutorlError
from autorl.optimizers.positions import at
from autorl.optimizers.priors import quantile
from autorl.optimizers.protocol import WAIT, Question, Wait
from autorl.optimizers.seeds import SeedsOptions, tuned_seeds
from autorl.spec.section import Whole, as_tuple
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, Standing, TrialResult

SHAPES: Final = ("n_envs", "n_steps", "batch_size", "buffer_size", "frame_stack")
"""Hyperparameters that give buffers and networks their shape: a run cannot go on under another value."""


CAVEAT: Final = (
    "what wins is a schedule, learned by weights that were handed on from trial to trial: training the winner's last "
    "configuration from the start, as tests on other seeds do, need not give its value"
)


class PopulationOptions(SeedsOptions):
    """What the methods have in common."""

    population: Annotated[Whole, Field(ge=2, le=10_000)] | None = Field(
        default=None,
        description="Members that train side by side; by default as many as the budget trains to the end, "
        "8 where only time limits it. A next population begins when one is done and the budget pays for another.",
    )
    interval: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="Fraction of a full run between two exchanges, rounded up to evaluation points.",
    )
    quantile: float = Field(
        default=0.25,
        gt=0,
        le=0.5,
        description="Fraction of the population that is replaced, and fraction at the top that replaces it.",
    )
    mutable: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] | None = Field(
        default=None,
        description="Parameters that may change while training; by default every number that is a hyperparameter "
        f"(no dot in its key), is no condition of others and is none of {', '.join(SHAPES)}.",
    )


@dataclass
class Member:
    """A trial during one generation.

    Attributes:
        trial: its number.
        config: what it trains with.
        start: value of the checkpoints that the interval started from; None if it started from nothing.
        value: value at the interval's end, the higher the better; None while that is unknown or if training failed.
        lost: whether training failed; with a value if it diverged.
    """

    trial: int
    config: Configuration
    start: float | None
    value: float | None = None
    lost: bool = False


@dataclass(frozen=True)
class Interval:
    """What a member did in a generation.

    Attributes:
        trial: its number.
        time: environment steps at the end.
        start: value at the start.
        gain: change of the value by environment step.
        place: what it trained with, as numbers, (d,).
    """

    trial: int
    time: float
    start: float
    gain: float
    place: NDArray[np.float64]


class Population(abc.ABC):
    """Conducts the generations; a subclass says how forks explore.

    Every member trains on the same seeds, and each run of a fork starts from the donor's run of the same seed. A member
    whose training failed is replaced whatever its rank; if all failed, a new population begins.
    """

    reads: Literal["nothing", "values", "curves"] = "values"
    changes: tuple[type, ...] = (Numeric, Choice)
    """Domains of the parameters that forks can change."""

    def __init__(self, question: Question) -> None:
        options: PopulationOptions = question.options
        self.question = question
        self.mutable = _mutable(question, self.changes)
        if not self.mutable:
            raise AutorlError(
                "no parameter of the search space may change while training, so members of a population have nothing "
                "to learn from each other; name those that may in 'optimizer.mutable', or take another optimizer"
            )
        self.seeds = tuned_seeds(question, options)
        self.ends = ends(question, options.interval)
        self._cost = len(self.seeds) * question.until
        self._size = options.population or (8 if question.budget is None else max(2, question.budget // self._cost))
        self._quantile = options.quantile
        self._spent = 0
        self._trials = 0
        self._begin()

    def _begin(self) -> None:
        budget = self.question.budget
        self._over = self._trials > 0 and budget is not None and self._spent + self._size * self._cost > budget
        self.generation = 0
        self.donors: list[Member] = []
        self._staying: list[Member] = []
        self._members: dict[int, Member] = {}
        self._untold: set[int] = set()

    @property
    def forked(self) -> Collection[str]:
        """Names of the parameters that forks may change."""
        return self.mutable

    @property
    def forks(self) -> list[Member]:
        """The forks of this generation that are known so far."""
        return list(self._members.values())[: self._size - len(self._staying)] if self.generation else []

    def ask(self, number: int) -> Proposal | Wait | None:
        """Propose the generation's next member; forks come first, while their donors stand where they fork from."""
        if self._over:
            return None
        if len(self._members) == self._size:
            return WAIT
        rng = np.random.default_rng(self.question.draw(number))
        until = self.ends[self.generation]
        if self.generation == 0:
            config = self.question.space.build(
                lambda p: at(p.domain, rng.random()) if p.prior is None else quantile(p, rng.random())
            )
            return Proposal(self._trials, config, self.seeds, until)
        going_on = len(self._members) - (self._size - len(self._staying))
        if going_on >= 0:
            member = self._staying[going_on]
            return Proposal(member.trial, member.config, self.seeds, until, member.trial)
        donor = self.donors[int(rng.integers(len(self.donors)))]
        config = self.explore(donor, rng)
        # Runs from the same checkpoints with the same seeds and values are the same runs.
        if any(config.values == other.config.values for other in [donor, *self._members.values()]):
            config = self.anew(donor, rng)
        return Proposal(self._trials, config, self.seeds, until, donor.trial)

    def take(self, number: int, proposal: Proposal) -> None:
        """Take note of a member."""
        donor = next((m for m in self._staying if m.trial == proposal.resume_from), None)
        self._members[number] = Member(proposal.trial, proposal.config, donor.value if donor else None)
        self._untold.add(number)
        self._trials = max(self._trials, proposal.trial + 1)
        trained = self.ends[self.generation - 1] if donor else 0
        self._spent += len(proposal.seeds) * (proposal.until - trained)

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn a member's value; the last one ends the generation."""
        member = self._members[number]
        member.lost = result.value is None or bool(result.failed)
        if result.value is not None:
            member.value = result.value if self.question.direction == "maximize" else -result.value
        self._untold.discard(number)
        if len(self._members) == self._size and not self._untold:
            self._select(list(self._members.values()))

    def _select(self, members: list[Member]) -> None:
        alive = [member for member in members if not member.lost]
        self.learn(members)
        if not alive or self.generation == len(self.ends) - 1:
            self._begin()
            return
        bottom, self.donors = quantiles(alive, self._quantile)
        self.generation += 1
        self._staying = self.survivors([m for m in alive if m not in bottom])
        self._members = {}

    @abc.abstractmethod
    def explore(self, donor: Member, rng: np.random.Generator) -> Configuration:
        """Return the configuration of a fork of this member."""

    def anew(self, donor: Member, rng: np.random.Generator) -> Configuration:
        """Return a fork's configuration drawn at random, where the explored one repeats another."""
        return fork(self.question.space, donor.config, self.mutable, lambda p, _: at(p.domain, rng.random()))

    @abc.abstractmethod
    def learn(self, members: Sequence[Member]) -> None:
        """Learn from a generation that is complete, before the next is planned."""

    def intervals(
        self, members: Sequence[Member], place: Callable[[Configuration], NDArray[np.float64]]
    ) -> list[Interval]:
        """Return what a complete generation's members did, those left out whose start has no value or that failed."""
        if self.generation == 0:
            return []
        time, before = self.ends[self.generation], self.ends[self.generation - 1]
        return [
            Interval(m.trial, time, m.start, (m.value - m.start) / (time - before), place(m.config))
            for m in members
            if m.start is not None and m.value is not None
        ]

    def survivors(self, members: list[Member]) -> list[Member]:
        """Return those of the members that are not at the bottom that go on as they are."""
        return members

    def needed(self) -> Collection[int]:
        """Return the members of this generation, and those of the last that have yet to go on."""
        to_come = max(0, len(self._members) - (self._size - len(self._staying)))
        found = {member.trial for member in self._staying[to_come:]}
        if self.generation < len(self.ends) - 1:
            found |= {m.trial for n, m in self._members.items() if n in self._untold or not m.lost}
        return found

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide among the trials trained furthest."""
        return ()


def ends(question: Question, interval: float) -> tuple[int, ...]:
    """Return the points at which generations end: the multiples of an interval, rounded up to points."""
    found = {question.point_at(k * interval) for k in range(1, math.ceil(1 / interval))}
    return (*sorted(found | {question.until}),)


def quantiles(members: Sequence[Member], fraction: float) -> tuple[list[Member], list[Member]]:
    """Return the bottom and the top of a population, as Ray Tune counts them.

    A fraction of the members is rounded up, but never more than half; members of the same value keep their order.

    Args:
        members: all with a value.
        fraction: of them that belongs to the bottom, and to the top.
    """
    ranked = sorted(members, key=lambda member: -math.inf if member.value is None else member.value)
    if len(ranked) == 1:
        return [], ranked
    count = min(math.ceil(len(ranked) * fraction), len(ranked) // 2)
    return ranked[:count], ranked[len(ranked) - count :]


def fork(
    space: SearchSpace, donor: Configuration, mutable: Collection[str], choose: Callable[[Parameter, Any], Any]
) -> Configuration:
    """Return a donor's configuration with some parameters chosen anew.

    All others stay as they are, be it outside the space or left to the algorithm.

    Args:
        space: the search space.
        donor: what the donor trains with.
        mutable: names of the parameters to choose.
        choose: returns the coordinate of a parameter, given the donor's or None where it has none.
    """
    values: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    for parameter in space:
        name = parameter.name
        if not parameter.active(values):
            continue
        if name not in mutable and parameter.active(donor.values):
            values |= {name: donor.values[name]} if name in donor.values else {}
            coordinates |= {name: donor.coordinates[name]} if name in donor.coordinates else {}
            continue
        coordinates[name] = choose(parameter, donor.coordinates.get(name))
        values[name] = parameter.value(coordinates[name])
    return Configuration(values, coordinates)


def _mutable(question: Question, domains: tuple[type, ...]) -> frozenset[str]:
    space = question.space
    named: tuple[str, ...] | None = question.options.mutable
    if named is None:
        return frozenset(
            p.name
            for p in space
            if isinstance(p.domain, Numeric)
            and "." not in p.sets
            and p.sets not in SHAPES
            and p.name not in space.parents
        )
    known = sorted(p.name for p in space if isinstance(p.domain, domains))
    if strange := [name for name in named if name not in known]:
        raise AutorlError(
            f"optimizer.mutable: {', '.join(map(repr, strange))}: must be among {', '.join(known) or 'none'}, the "
            "parameters of the search space that this optimizer can change"
        )
    return frozenset(named)
