"""Population-based bandits (PB2; Parker-Holder et al. 2020, arXiv 2002.02518)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from autorl.optimizers.population import CAVEAT, Interval, Member, Population, PopulationOptions, fork
from autorl.optimizers.positions import at, positions
from autorl.optimizers.protocol import Method, Question
from autorl.optimizers.time_varying_gp import Array, TimeVaryingGP, climb
from autorl.spec.space import Configuration, Numeric

MEMORY: Final = 200
"""Intervals that the process is fitted to: the latest. Ray Tune keeps all up to so many, then cross-validates."""
STARTS: Final = 10


class PopulationBasedBandits(Population):
    """Population-based bandits: a time-varying Gaussian process chooses what forks train with.

    The process predicts how fast the value rises in an interval, from the time, the value at its start, and the mutable
    parameters, all numbers, on their scales in the search space. A fork trains with the maximum of the upper confidence
    bound. As in the authors' code and Ray Tune's, time and value at which the bound is maximized are those of the
    donor's last interval, and the first interval, whose start has no value, is not learned from; the first forks are
    therefore drawn from the whole space, where Ray Tune's train with what their donors do.
    """

    changes: tuple[type, ...] = (Numeric,)

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.history: list[Interval] = []
        self._free = [p for p in question.space if p.name in self.mutable]

    def learn(self, members: Sequence[Member]) -> None:
        """Note how fast each member's value rose."""
        self.history = [*self.history, *self.intervals(members, self.place)][-MEMORY:]

    def latest(self, donor: Member) -> Interval | None:
        """Return what a donor did last, if that is known."""
        return next((interval for interval in reversed(self.history) if interval.trial == donor.trial), None)

    def explore(self, donor: Member, rng: np.random.Generator) -> Configuration:
        """Choose the mutable parameters by the bound."""
        starts = rng.random((STARTS, len(self._free)))
        best = starts[0]
        if last := self.latest(donor):
            best = highest(upper_bound(self.history, [self.place(m.config) for m in self.forks], last), starts)
        chosen = {p.name: float(x) for p, x in zip(self._free, best, strict=True)}
        return fork(self.question.space, donor.config, self.mutable, lambda p, _: at(p.domain, chosen[p.name]))

    def place(self, config: Configuration) -> Array:
        """Return the positions of the mutable parameters, half way where one has none."""
        return positions(self._free, config)


def upper_bound(
    history: Sequence[Interval], running: Sequence[Array], last: Interval, labels: int = 0, noisy: bool = True
) -> Callable[[Array], Array]:
    """Return the upper confidence bound of the gain, as a function of places, (m, d).

    It is μ + √β σ², with β = 0.2 + max(0, log 0.4 n): the authors' code has the variance where the paper has the
    deviation.

    Args:
        history: what is known.
        running: places that are being tried in this generation; they lower the variance, whatever their gain will be
            (Desautels et al. 2014).
        last: the donor's latest interval.
        labels: how many of the last columns of a place are labels.
        noisy: whether gains are noisy, as the paper has it. Without noise this is what Ray Tune computes: gains that
            are noisy nevertheless then make the lengthscale vanish, and the bound is flat.
    """
    context = np.array([(interval.time, interval.start) for interval in history])
    low, high = context.min(axis=0), context.max(axis=0)
    x = np.hstack([(context - low) / (high - low + 1e-8), np.array([interval.place for interval in history])])
    gains = np.array([interval.gain for interval in history])
    y = np.clip((gains - gains.mean()) / (gains.std() + 1e-8), -2, 2)
    now = (np.array([last.time, last.start]) - low) / (high - low + 1e-8)
    root = np.sqrt(0.2 + max(0.0, np.log(0.4 * len(x))))

    def rows(places: Array) -> Array:
        return np.hstack([np.tile(now, (len(places), 1)), places])

    mean = spread = TimeVaryingGP.fit(x, y, labels, noisy)
    if running:
        known = np.vstack([x, rows(np.array(running))])
        spread = TimeVaryingGP.fit(known, np.concatenate([y, np.zeros(len(running))]), labels, noisy)
    return lambda places: mean.predict(rows(places))[0] + root * spread.predict(rows(places))[1]


def highest(bound: Callable[[Array], Array], starts: Array) -> Array:
    """Return the best place, (d,), that climbs from some starts, (k, d), find in the unit cube."""
    found = [climb(bound, start, 0.0, 1.0) for start in starts]
    return max(found, key=lambda place_and_value: place_and_value[1])[0]


PB2 = Method(PopulationBasedBandits, PopulationOptions, CAVEAT)
