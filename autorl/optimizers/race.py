"""Racing configurations over steps and seeds: `race`, the default optimizer.

A configuration is first trained on one seed for part of a run, then on that seed to the end, then on all tuning seeds.
Which configurations are started, and which of them are promoted, is decided by what the surrogate (see `surrogate`)
believes of their final score over all seeds; every score of every configuration bears on that belief. The budget is
shared between the three stages, the later ones coming in as it is spent, so that the last of it goes to telling the
best configurations apart on common seeds.

The best trial is the one whose expected score is highest, and that expectation is what is reported: it is shrunk
towards what the space and the other trials make plausible, by as much as seeds are noisy. The luckiest mean is not.

With several objectives or constraints each proposal weighs them anew and races for the weighted one (`scalarize`), so
that proposals spread over the front.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field

from autorl.optimizers.encoding import Encoding, Vector
from autorl.optimizers.priors import draw
from autorl.optimizers.protocol import WAIT, Method, Question, Wait
from autorl.optimizers.scalarize import scalarized
from autorl.optimizers.surrogate import Points, Surrogate, Warp, at_the_end, expected_score
from autorl.spec.section import Spec
from autorl.spec.space import Configuration, identity
from autorl.trial import Proposal, Standing, TrialResult

_FIRST = 10  # configurations drawn at random before the surrogate chooses any
_TRIES = 100  # how many are drawn for one that was not tried
_RANDOM = 0.2  # share of the later ones that still are: a surrogate may be wrong
# Standard deviations added to what is believed of a configuration when a new one is chosen, and when one is promoted.
_OPTIMISM_NEW, _OPTIMISM = 2.0, 1.0
# Measured on tables of real results: the posterior overshrinks the best of many trials, and the mean of its runs
# overstates it. So many runs at what is believed, beside those that were trained, leave next to no bias.
_PSEUDO_RUNS = 5.0
# So much wider an interval is made by trials that are few, from which hyperparameters are not known well: measured too.
_WIDENED = 3.0
_DRAWS = 2_000  # of the incumbent's score on new seeds, for its interval
# What the surrogate looks at. Its cost grows with the cube of these. A policy's score goes up and down from one
# evaluation to the next: several at the end of a run tell more of its configuration than the last one.
_FRACTIONS = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
_CONDITIONED, _FITTED = 700, 300
_ITERATIONS = 20
_REFIT = 1.2  # hyperparameters are fitted again when there are so many times the observations


class RaceOptions(Spec):
    """Options of `race`."""

    first_fraction: float = Field(
        default=0.3, gt=0, le=1, description="Fraction of a full run after which a new configuration is first judged."
    )


Curve = tuple[tuple[int, tuple[float, ...]], ...]


@dataclass
class _Stage:
    """A stage of training.

    Attributes:
        seeds: how many of the tuning seeds it trains on, in their order.
        until: environment steps it trains to.
        begins: fraction of the budget that is spent before the stage takes part in it.
    """

    seeds: int
    until: int
    begins: float


@dataclass
class _Trial:
    """A trial.

    Attributes:
        stage: the last stage it was proposed for.
        told: the last stage it was told of.
        lost: whether a run failed, so that it cannot be promoted.
        curves: seed → by environment steps, what each objective and each constraint measures.
    """

    config: Configuration
    vector: Vector
    stage: int = 0
    told: int = -1
    lost: bool = False
    curves: dict[int, Curve] = field(default_factory=dict)


class Race:
    """See the module."""

    reads: Literal["nothing", "values", "curves"] = "curves"

    def __init__(self, question: Question) -> None:
        self._question = question
        self._sign = 1.0 if question.direction == "maximize" else -1.0
        self._plain = not question.others and not question.bounds
        self._evenly = np.full(len(question.directions), 1 / len(question.directions))
        self._encoding = Encoding(question.space, one_hot=True)
        self._informed = any(parameter.prior for parameter in question.space)
        self._stages = _stages(question)
        self._surrogate = Surrogate(self._encoding.columns)
        self._trials: list[_Trial] = []
        self._known: set[Hashable] = set()
        self._asked: list[tuple[Proposal, int]] = []  # by number, with the stage
        self._spent = [0] * len(self._stages)
        self._marks = {question.point_at(fraction) for fraction in _FRACTIONS}
        self._fitted = 0
        self._belief: _Belief | None = None

    def ask(self, number: int) -> Proposal | Wait | None:
        """Propose for the stage that is furthest behind its share of the budget."""
        rng = np.random.default_rng([self._question.draw(number), 1])
        if len(self._trials) < _FIRST and (config := self._drawn(rng)) is not None:
            return self._start(config)
        left = None if self._question.budget is None else self._question.budget - sum(self._spent)
        affordable = left is None or left >= self._stages[0].until
        if not any(trial.curves for trial in self._trials):  # so many were asked for at first, or so many failed
            config = self._drawn(rng) if affordable else None
            return self._wait() if config is None else self._start(config)
        belief = self._believe(self._evenly if self._plain else rng.dirichlet(np.ones(len(self._evenly))))
        for stage in self._behind():
            if stage == 0:
                if affordable and (config := self._choose_new(belief, rng)) is not None:
                    return self._start(config)
                continue
            candidates = [
                index
                for index, trial in enumerate(self._trials)
                if trial.told == trial.stage == stage - 1 and not trial.lost
                if left is None or self._cost(stage) <= left
            ]
            if candidates:
                return self._promote(belief.most_promising(candidates), stage)
        return self._wait()

    def _wait(self) -> Wait | None:
        return WAIT if any(trial.told < trial.stage for trial in self._trials) else None

    def _behind(self) -> list[int]:
        """Return the stages, the one furthest behind its share of what was spent first."""
        spent = sum(self._spent)
        done = spent / self._question.budget if self._question.budget else 1.0
        weights = np.array([max(0.0, (done - s.begins) / (1 - s.begins)) for s in self._stages])
        weights += 1e-9
        shares = weights / weights.sum() * max(spent, 1)
        return [int(stage) for stage in np.argsort(np.array(self._spent) / shares, kind="stable")]

    def _start(self, config: Configuration) -> Proposal:
        stage = self._stages[0]
        return Proposal(len(self._trials), config, self._question.seeds[: stage.seeds], stage.until)

    def _promote(self, trial: int, number: int) -> Proposal:
        """Continue a trial where a stage goes further, or on the seeds that a stage adds."""
        stage, before = self._stages[number], self._stages[number - 1]
        seeds = self._question.seeds[: stage.seeds]
        if stage.until == before.until:
            seeds = seeds[before.seeds :]
        return Proposal(trial, self._trials[trial].config, seeds, stage.until, trial)

    def _cost(self, stage: int) -> int:
        return self._stages[stage].seeds * self._stages[stage].until - (
            self._stages[stage - 1].seeds * self._stages[stage - 1].until if stage else 0
        )

    def _drawn(self, rng: np.random.Generator) -> Configuration | None:
        """Draw a configuration at random; None if there seems to be none that was not tried."""
        for _ in range(_TRIES):
            if self._informed:
                config = draw(self._question.space, rng)
            else:
                config = self._encoding.decode(rng.random(self._encoding.columns))
            # What is trained in the place of the first is known to others alone.
            if len(self._trials) < self._question.given or identity(config.values) not in self._known:
                return config
        return None

    def _choose_new(self, belief: _Belief, rng: np.random.Generator) -> Configuration | None:
        """Choose by upper confidence bound among random points and neighbours of the best trials."""
        columns = self._encoding.columns
        if rng.random() < _RANDOM:
            return self._drawn(rng)
        near = np.repeat(np.array([self._trials[i].vector for i in belief.best(5)]), 30, axis=0)
        moved = np.where(rng.random(near.shape) < 0.35, near + 0.2 * rng.standard_normal(near.shape), near)
        # A choice is another one, or it is not: a small step in it means nothing.
        other = rng.random(near.shape) < 0.1
        moved = np.where(self._encoding.choices, np.where(other, rng.random(near.shape), near), moved)
        cube = np.concatenate([rng.random((300, columns)), np.clip(moved, 0, 1)])
        configs = [self._encoding.decode(vector) for vector in cube]
        fresh = [config for config in configs if identity(config.values) not in self._known]
        if not fresh:
            return self._drawn(rng)
        # In parallel, a random optimism makes proposals differ that know the same (Hutter et al. 2012, LION).
        waiting = any(trial.told < 0 for trial in self._trials)
        optimism = rng.exponential(_OPTIMISM_NEW) if waiting else _OPTIMISM_NEW
        vectors = np.array([self._encoding.encode(config) for config in fresh])
        return fresh[belief.most_promising_new(vectors, optimism)]

    def take(self, number: int, proposal: Proposal) -> None:
        """Take note of a trial that starts or is promoted."""
        if proposal.trial == len(self._trials):
            self._trials.append(_Trial(proposal.config, self._encoding.encode(proposal.config)))
            self._known.add(identity(proposal.config.values))
        else:
            self._trials[proposal.trial].stage += 1
        stage = self._trials[proposal.trial].stage
        self._asked.append((proposal, stage))
        self._spent[stage] += self._cost(stage)
        self._belief = None

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn the curves; hyperparameters are fitted here, so that it does not depend on what is asked."""
        proposal, stage = self._asked[number]
        trial = self._trials[proposal.trial]
        trial.told = stage
        trial.curves.update(
            result.measures or {s: tuple((at, (value,)) for at, value in c) for s, c in result.curves.items()}
        )
        failed = [seed for seed in proposal.seeds if seed not in result.curves]
        trial.lost = bool(failed) or result.value is None
        if result.value is not None:
            # It diverged, and is known for the bad value that it was given.
            bounded = [b + sign * by for (sign, b), by in zip(self._question.bounds, result.violations, strict=True)]
            trial.curves |= dict.fromkeys(failed, ((proposal.until, (*(result.values or (result.value,)), *bounded)),))
        self._belief = None
        observed = sum(len(self._kept(curve)) for t in self._trials for curve in t.curves.values())
        if observed >= max(_FIRST, _REFIT * self._fitted):
            self._fitted = observed
            points, scores = self._observations(_FITTED, self._evenly)
            self._surrogate.fit(points, Warp(scores).normal, _ITERATIONS)

    def needed(self) -> Collection[int]:
        """Return the trials that may be promoted."""
        last = len(self._stages) - 1
        return [index for index, trial in enumerate(self._trials) if not trial.lost and trial.stage < last]

    def ranking(self) -> Sequence[Standing]:
        """Return the trials that were trained to the end on a seed, by their expected score; all, if none was.

        With several objectives or constraints none: the surrogate believes in weighted objectives, each time others.
        """
        if not self._plain:
            return ()
        seen = [index for index, trial in enumerate(self._trials) if trial.curves and trial.told >= 0]
        full = [index for index in seen if self._full(self._trials[index])]
        if not seen:
            return ()
        belief, test_seeds = self._believe(self._evenly), self._question.test_seeds
        standings = [belief.standing(index, self._ends(self._trials[index]), test_seeds) for index in full or seen]
        return sorted(standings, key=lambda s: (-self._sign * s.mean, s.trial))

    def _full(self, trial: _Trial) -> bool:
        return not trial.lost and bool(self._ends(trial))

    def _ends(self, trial: _Trial) -> list[float]:
        """Return the final scores of a trial's full runs."""
        return [curve[-1][1][0] for curve in trial.curves.values() if curve and curve[-1][0] == self._question.until]

    # What the surrogate sees

    def _kept(self, curve: Curve) -> list[tuple[int, tuple[float, ...]]]:
        """Return the last point of a curve and those at a few fractions of a run."""
        return [point for point in curve if point[0] in self._marks or point is curve[-1]]

    def _observations(self, most: int, weights: Vector) -> tuple[Points, Vector]:
        """Return points and scores, at most so many: first the trials that got furthest, then the latest."""
        order = sorted(range(len(self._trials)), key=lambda i: (-self._trials[i].told, -i))
        rows: list[tuple[int, int, int, tuple[float, ...]]] = []
        for index in order:
            for seed, curve in self._trials[index].curves.items():
                rows += [(index, seed, steps, measures) for steps, measures in self._kept(curve)]
            if len(rows) >= most:
                break
        rows = sorted(rows[:most])
        trials, seeds = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        logs = np.log(np.array([row[2] for row in rows]) / self._question.until)
        vectors = np.array([self._trials[index].vector for index in trials])
        measures = np.array([row[3] for row in rows])
        if self._plain:
            return Points(vectors, trials, seeds, logs), self._sign * measures[:, 0]
        scores = scalarized(measures, self._question.directions, self._question.bounds, weights)
        return Points(vectors, trials, seeds, logs), scores

    def _believe(self, weights: Vector) -> _Belief:
        """Condition the surrogate on everything that was told."""
        if self._belief is None or not self._plain:
            points, scores = self._observations(_CONDITIONED, weights)
            vectors = np.array([trial.vector for trial in self._trials])
            self._belief = _Belief(self._surrogate, points, scores, vectors, self._sign)
        return self._belief


class _Belief:
    """What the surrogate says of all trials, given what was told so far."""

    def __init__(self, surrogate: Surrogate, points: Points, scores: Vector, vectors: Vector, sign: float) -> None:
        self._surrogate, self._sign = surrogate, sign
        self._warp = Warp(scores)
        surrogate.condition(points, self._warp.normal)
        self._mean, self._variance = surrogate.predict(at_the_end(vectors, np.arange(len(vectors))))
        self._expected = expected_score(self._warp, self._mean, self._variance + surrogate.seed_variance)

    def most_promising(self, trials: Sequence[int]) -> int:
        """Return the trial with the highest upper confidence bound."""
        bound = self._mean[trials] + _OPTIMISM * np.sqrt(self._variance[trials])
        return trials[int(np.argmax(bound))]

    def most_promising_new(self, vectors: Vector, optimism: float) -> int:
        """Return the row of the new configuration with the highest upper confidence bound."""
        nobodys = -2 - np.arange(len(vectors))
        mean, variance = self._surrogate.predict(at_the_end(vectors, nobodys))
        return int(np.argmax(mean + optimism * np.sqrt(variance)))

    def best(self, count: int) -> list[int]:
        """Return the trials with the highest expected score."""
        return [int(i) for i in np.argsort(-self._expected, kind="stable")[:count]]

    def standing(self, trial: int, ends: Sequence[float], seeds: int) -> Standing:
        """Return what is expected of a trial, and a 90 % interval of its mean over so many new seeds, by simulation.

        Args:
            trial: its number.
            ends: the final scores of its full runs.
            seeds: how many.
        """
        level, noise = _draws(seeds)
        deviation = np.sqrt(self._variance[trial]) * level + np.sqrt(self._surrogate.seed_variance) * noise
        normal = self._mean[trial] + (1 + _WIDENED / len(self._mean)) * deviation
        believed = self._sign * float(self._expected[trial])
        mean = (sum(ends) + _PSEUDO_RUNS * believed) / (len(ends) + _PSEUDO_RUNS)
        scores = self._sign * self._warp.back(normal).mean(axis=1) + mean - believed
        # Shifted by the runs' part of the mean, it may pass what any run has reached: a floor or a ceiling, often.
        worst, best = sorted((self._sign * self._warp.low, self._sign * self._warp.high))
        low, high = (min(max(float(q), worst), best) for q in np.quantile(scores, [0.05, 0.95]))
        return Standing(trial, mean, min(low, mean), max(high, mean))


@cache
def _draws(seeds: int) -> tuple[Vector, Vector]:
    """Return standard normal draws for a configuration's level and for its seeds."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((_DRAWS, 1)), rng.standard_normal((_DRAWS, seeds))


def _stages(question: Question) -> list[_Stage]:
    """Return the stages: one seed in part, one seed in full, all seeds; with many seeds one stage in between."""
    count, part = len(question.seeds), question.point_at(question.options.first_fraction)
    ladder = [(1, part), (1, question.until)] if part < question.until else [(1, question.until)]
    if count > 6:
        ladder.append((3, question.until))
    if count > 1:
        ladder.append((count, question.until))
    begins = np.linspace(0.0, 0.5, len(ladder)) if len(ladder) > 1 else np.zeros(1)
    return [_Stage(seeds, until, float(b)) for (seeds, until), b in zip(ladder, begins, strict=True)]


RACE = Method(Race, RaceOptions, single=True, several=True, constrained=True)
