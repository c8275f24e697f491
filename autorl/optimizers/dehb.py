"""DEHB: differential evolution in Hyperband's brackets (Awad et al. 2021, arXiv 2105.09821)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autorl.optimizers.brackets import Bracket, Brackets, FidelityOptions, bracket_sizes, ladder
from autorl.optimizers.encoding import Encoding
from autorl.optimizers.priors import draw
from autorl.optimizers.protocol import Method, Question
from autorl.optimizers.seeds import tuned_seeds
from autorl.spec.space import Configuration, identity
from autorl.trial import Proposal, Standing, TrialResult

Vector = NDArray[np.float64]

TRIES = 20
"""How many offspring are made to find one whose configuration is new, before a random one is taken."""


class DehbOptions(FidelityOptions):
    """As for Hyperband, and the constants of differential evolution."""

    mutation_factor: float = Field(default=0.5, gt=0, le=2, description="F: what differences are multiplied by.")
    crossover: float = Field(default=0.5, ge=0, le=1, description="Probability that a dimension is the mutant's.")


@dataclass(frozen=True)
class _Member:
    """A trial in a subpopulation; the higher its value the better."""

    trial: int
    vector: Vector
    value: float


@dataclass(frozen=True)
class _Candidate:
    """What is to be trained for a place in a subpopulation."""

    trial: int
    config: Configuration
    vector: Vector
    fidelity: int
    place: int


class Dehb:
    """Evolves a subpopulation for each fidelity, as large as the largest rung of Hyperband that trains to it.

    A bracket's rungs go over the places of their subpopulations in turn. A place that is empty is filled: in a
    bracket's first rung with a random configuration, in later ones with the best of the fidelity below that has not
    been trained so far, which goes on from its checkpoints; so the first bracket is successive halving. A place that
    is taken is challenged by an offspring, trained from nothing: the mutant of three parents (`mutate`) crossed with
    the member there (`cross`), which it replaces if it is as good. The parents come from the best of the fidelity
    below, as many as the rung has places; in a bracket's first rung from the subpopulation itself; if these are fewer
    than three, from all subpopulations. Failed trials take no place.

    Vectors stay continuous from parent to offspring; only what is trained is rounded (section 4.4).
    """

    reads: Literal["nothing", "values", "curves"] = "values"

    def __init__(self, question: Question) -> None:
        options: DehbOptions = question.options
        self._question, self._options = question, options
        self._ladder = ladder(question)
        self._seeds = tuned_seeds(question, options)
        self._encoding = Encoding(question.space)
        self._brackets = Brackets(len(self._ladder), options.reduction_factor)
        # The largest rung of a fidelity is the first of the bracket that starts with it, or one before.
        sizes = bracket_sizes(len(self._ladder), options.reduction_factor)
        largest = [max(sizes[b][k - b] for b in range(k + 1)) for k in range(len(self._ladder))]
        self._populations: list[list[_Member | None]] = [[None] * size for size in largest]
        self._place = [0] * len(self._ladder)
        self._trained: list[int] = []
        self._configs: list[Configuration] = []
        self._known: set[Hashable] = set()
        self._untold: dict[int, _Candidate] = {}

    def ask(self, number: int) -> Proposal:
        """Propose to fill a place of a subpopulation or to challenge its member."""
        candidate = self._candidate(number)
        until = self._ladder[candidate.fidelity]
        resumed = candidate.trial if candidate.trial < len(self._configs) else None
        return Proposal(candidate.trial, candidate.config, self._seeds, until, resumed)

    def take(self, number: int, proposal: Proposal) -> None:
        """Take note of what is trained for the place that is due."""
        planned = self._candidate(number)
        config, vector = proposal.config, planned.vector
        if config != planned.config:
            vector = self._encoding.encode(config)
        fidelity = planned.fidelity
        self._untold[number] = _Candidate(proposal.trial, config, vector, fidelity, planned.place)
        self._place[fidelity] = (planned.place + 1) % len(self._populations[fidelity])
        self._brackets.take(number, proposal.trial)
        if proposal.trial == len(self._configs):
            self._configs.append(config)
            self._trained.append(fidelity)
            self._known.add(identity(config.values))
        self._trained[proposal.trial] = fidelity

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn a value, and keep the better of the candidate and the member at its place; never one that diverged."""
        done = self._untold.pop(number)
        value = None if result.failed else result.value
        if value is not None:
            value = value if self._question.direction == "maximize" else -value
            population = self._populations[done.fidelity]
            member = population[done.place]
            if member is None or value >= member.value:
                population[done.place] = _Member(done.trial, done.vector, value)
        self._brackets.tell(number, value)

    def needed(self) -> Collection[int]:
        """Return the trials that may fill a place of the next fidelity, while one is empty."""
        found = set()
        training = {done.trial for done in self._untold.values()}
        for fidelity, above in enumerate(self._populations[1:]):
            if None in above:
                members = {member.trial for member in self._populations[fidelity] if member is not None}
                found |= {trial for trial in members | training if self._trained[trial] == fidelity}
        return found

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide among the trials trained furthest."""
        return ()

    def _candidate(self, number: int) -> _Candidate:
        """Return the candidate that is due: the same for as long as nothing is taken or told."""
        bracket = self._brackets.due()
        fidelity = bracket.fidelity
        place = self._place[fidelity]
        target = self._populations[fidelity][place]
        rng = np.random.default_rng(self._question.draw(number))
        if target is not None:
            config, vector = self._offspring(bracket, target, rng)
            return _Candidate(len(self._configs), config, vector, fidelity, place)
        if bracket.rung:
            for member in self._ranked(fidelity - 1):
                if self._trained[member.trial] == fidelity - 1:
                    return _Candidate(member.trial, self._configs[member.trial], member.vector, fidelity, place)
        config = draw(self._question.space, rng)
        return _Candidate(len(self._configs), config, self._encoding.encode(config), fidelity, place)

    def _offspring(self, bracket: Bracket, target: _Member, rng: np.random.Generator) -> tuple[Configuration, Vector]:
        source = bracket.fidelity - 1 if bracket.rung else bracket.fidelity
        parents = [m for m in self._ranked(source)[: bracket.sizes[bracket.rung]] if m is not target]
        if len(parents) < 3:
            parents = [m for fidelity in range(len(self._ladder)) for m in self._ranked(fidelity) if m is not target]
        for _ in range(TRIES if len(parents) >= 3 else 0):
            a, b, c = (parents[i].vector for i in rng.choice(len(parents), 3, replace=False))
            mutant = mutate(a, b, c, self._options.mutation_factor, rng)
            vector = cross(target.vector, mutant, self._options.crossover, rng)
            config = self._encoding.decode(vector)
            if identity(config.values) not in self._known:
                return config, vector
        config = draw(self._question.space, rng)
        return config, self._encoding.encode(config)

    def _ranked(self, fidelity: int) -> list[_Member]:
        members = [member for member in self._populations[fidelity] if member is not None]
        return sorted(members, key=lambda member: -member.value)


def mutate(a: Vector, b: Vector, c: Vector, factor: float, rng: np.random.Generator) -> Vector:
    """Return the mutant a + F (b − c) of rand/1 mutation (equation 1), what leaves the unit cube drawn anew.

    Args:
        a: first parent, shape (columns,).
        b: second parent.
        c: third parent.
        factor: F.
        rng: draws what is drawn anew.
    """
    mutant = a + factor * (b - c)
    return np.where((mutant < 0) | (mutant > 1), rng.random(mutant.shape), mutant)


def cross(target: Vector, mutant: Vector, probability: float, rng: np.random.Generator) -> Vector:
    """Return the binomial crossover of two vectors (equation 2): each dimension from the mutant with a probability.

    At least one dimension is the mutant's.

    Args:
        target: member that is challenged, shape (columns,).
        mutant: what it is crossed with.
        probability: that a dimension is the mutant's.
        rng: decides.
    """
    chosen = rng.random(target.shape) <= probability
    if target.size:
        chosen[rng.integers(target.size)] = True
    return np.where(chosen, mutant, target)


DEHB = Method(Dehb, DehbOptions)
