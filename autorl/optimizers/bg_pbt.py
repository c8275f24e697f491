"""Bayesian generational population-based training (BG-PBT; Wan et al. 2022, arXiv 2207.09405)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from pydantic import Field

from autorl.optimizers.pb2 import PopulationBasedBandits, upper_bound
from autorl.optimizers.population import CAVEAT, Member, PopulationOptions, fork
from autorl.optimizers.positions import at, positions
from autorl.optimizers.protocol import Method, Question
from autorl.optimizers.time_varying_gp import Array, climb
from autorl.spec.section import Whole
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, Scalar, same

CANDIDATES: Final = 500
SIDE: Final = 0.4
"""Side of a new trust region, as a fraction of the space's (this and what follows as in the authors' code)."""
SMALLEST: Final = 0.15
STRETCH: Final = 1.5
"""What a trust region grows by when it succeeds, and shrinks by when it fails."""


class BGPBTOptions(PopulationOptions):
    """How often architectures change."""

    generations: Whole = Field(
        default=2,
        ge=1,
        le=20,
        description="Parts of a full run, equally long; where one ends, all but the top of the population go on with "
        "new architectures, into which their donors are distilled.",
    )


class BayesianGenerationalPBT(PopulationBasedBandits):
    """BG-PBT: a trust region for mixed spaces between exchanges, new architectures between generations.

    What forks train with maximizes the upper confidence bound of a time-varying process over numbers and choices, in a
    region around their donor: the region reaches as far from each number as half its side, and as many choices may
    differ as its side is of their number. It grows when the steepest rise of an interval was that of a fork, and
    shrinks when it was not.

    Where one of the `generations` ends, forks may change every parameter that a student of their donor may differ in:
    `policy.*`, and all hyperparameters except `frame_stack`, which decides what the teacher sees. They are trials that
    start from their donor's checkpoints all the same, which a backend distils where it can.

    What differs from the paper and its code:

    - The top of the population outlives its generation with the architecture it has, so that a distillation that fails
      costs nothing that was won. There, all members are renewed, the best of more students than are kept.
    - Generations are equally long. There, one ends when it has not improved for a while.
    - The region is resized after every interval. There, after 3 successes or 10 failures: more than the intervals of a
      run here.
    - The region is a cube, its sides not scaled by lengthscales; the mixture of the kernels' sum and product is even;
      the bound of PB2 is maximized, among random candidates, then by climbing along the numbers.
    """

    changes = (Numeric, Choice)

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self._numbers = [p for p in question.space if isinstance(p.domain, Numeric)]
        self._choices = [p for p in question.space if isinstance(p.domain, Choice)]
        self._renewable = self.mutable | {p.name for p in question.space if _student_may_differ(p)}
        parts = question.options.generations
        self._boundaries = {round(k * len(self.ends) / parts) for k in range(1, parts)} - {0}
        self._side = SIDE

    @property
    def forked(self) -> Collection[str]:
        """Names of the parameters that forks may change, where architectures change too."""
        return self._renewable if self._boundaries else self.mutable

    @property
    def _renewing(self) -> bool:
        return self.generation in self._boundaries and self._renewable > self.mutable

    def learn(self, members: Sequence[Member]) -> None:
        """Note how fast each member's value rose, and resize the trust region."""
        super().learn(members)
        found = self.intervals(members, self.place)
        if not found or self._renewing:
            self._side = SIDE
            return
        steepest = max(found, key=lambda interval: interval.gain).trial
        self._side *= STRETCH if steepest in {member.trial for member in self.forks} else 1 / STRETCH
        self._side = min(max(self._side, SMALLEST), 1.0)

    def survivors(self, members: list[Member]) -> list[Member]:
        """Return the donors alone where architectures change."""
        return self.donors if self._renewing else members

    def explore(self, donor: Member, rng: np.random.Generator) -> Configuration:
        """Choose by the bound within the trust region, or anywhere where architectures change."""
        last = self.latest(donor)
        if last is None:
            return self.anew(donor, rng)
        rows, low, high = self._region(donor, rng)
        running = [self.place(member.config) for member in self.forks]
        bound = upper_bound(self.history, running, last, labels=len(self._choices))
        best = rows[int(bound(rows).argmax())]
        if self._numbers:
            numbers, labels = np.split(best, [len(self._numbers)])
            numbers, _ = climb(lambda x: bound(np.hstack([x, np.tile(labels, (len(x), 1))])), numbers, low, high)
            best = np.concatenate([numbers, labels])
        return self._fork(donor, best, rng)

    def anew(self, donor: Member, rng: np.random.Generator) -> Configuration:
        """Draw from the trust region."""
        rows, _, _ = self._region(donor, rng)
        return self._fork(donor, rows[0], rng)

    @property
    def _changing(self) -> frozenset[str]:
        return self._renewable if self._renewing else self.mutable

    def _region(self, donor: Member, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Return places drawn from the trust region, (n, d), and the bounds of its numbers."""
        split = len(self._numbers)
        centre = self.place(donor.config)
        half = np.array([p.name in self._changing for p in self._numbers]) * (1.0 if self._renewing else self._side / 2)
        low, high = np.maximum(centre[:split] - half, 0), np.minimum(centre[:split] + half, 1)
        labels = self._relabelled(np.tile(centre[split:], (CANDIDATES, 1)), rng)
        return np.hstack([rng.uniform(low, high, (CANDIDATES, split)), labels]), low, high

    def _fork(self, donor: Member, place: Array, rng: np.random.Generator) -> Configuration:
        chosen = dict(zip([p.name for p in [*self._numbers, *self._choices]], place, strict=True))

        def choose(parameter: Parameter, _: Any) -> Any:
            found = chosen[parameter.name]
            if isinstance(parameter.domain, Numeric):
                return at(parameter.domain, float(found))
            return parameter.domain.labels[int(found)] if found >= 0 else at(parameter.domain, rng.random())

        return fork(self.question.space, donor.config, self._changing, choose)

    def _relabelled(self, labels: Array, rng: np.random.Generator) -> Array:
        """Draw some of each row's free labels anew, as many at most as the trust region allows."""
        columns = [j for j, p in enumerate(self._choices) if p.name in self._changing]
        if not columns:
            return labels
        most = len(columns) if self._renewing else max(1, round(self._side * len(columns)))
        order = rng.random((len(labels), len(columns))).argsort(axis=1)
        drawn = order < rng.integers(0, most, len(labels), endpoint=True)[:, None]
        anew = rng.integers(0, [len(_labels(self._choices[j])) for j in columns], drawn.shape)
        found = labels.copy()
        found[:, columns] = np.where(drawn, anew, labels[:, columns])
        return found

    def place(self, config: Configuration) -> Array:
        """Return positions of the numbers, then indices of the choices' labels: -1 where there is none."""
        labels = [_index(p, config.coordinates[p.name]) if p.name in config.coordinates else -1 for p in self._choices]
        return np.array([*positions(self._numbers, config), *labels], dtype=np.float64)


def _index(parameter: Parameter, label: Any) -> int:
    return next(i for i, known in enumerate(_labels(parameter)) if same(known, label))


def _labels(parameter: Parameter) -> tuple[Scalar, ...]:
    assert isinstance(parameter.domain, Choice)
    return parameter.domain.labels


def _student_may_differ(parameter: Parameter) -> bool:
    return parameter.sets.startswith("policy.") or ("." not in parameter.sets and parameter.sets != "frame_stack")


BG_PBT = Method(BayesianGenerationalPBT, BGPBTOptions, CAVEAT)
