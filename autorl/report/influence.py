"""What the hyperparameters of a study do to its objectives, from its ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from autorl.analysis import Estimate, estimate
from autorl.analysis.estimate import aggregate_rows
from autorl.analysis.sensitivity import (
    Axis,
    Domain,
    Effect,
    Forest,
    Step,
    ablation_path,
    adjusted_means,
    agreement,
    best_share,
    chance_of_agreement,
    effect,
    interactions,
    local_importance,
    main_effects,
    neighbours,
    ped_anova,
)
from autorl.analysis.sensitivity.forest import Points
from autorl.engine.measures import course
from autorl.ledger.records import CurveRecord, TrialRecord
from autorl.report.findings import Findings
from autorl.spec.objectives import ObjectiveSpec
from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace, same
from autorl.spec.unit import bins, from_unit, place
from autorl.trial import Phase

FEWEST_TRIALS = 8
LOCATIONS = ("mean", "median", "iqm")
"""Statistics over seeds that say where scores are, and not how they scatter."""
MOST_TRIALS = 2_000
"""Trials that a model learns from at most; of more, evenly many from first to last."""
SMALLEST_CHANCE = 0.05
"""Where even seeds of one mind would agree by chance more often than this, nothing is said of their agreement."""
PAIRED = 5
"""Hyperparameters whose interactions are looked at: the most important ones."""
SHARES = "What matters for each objective: shares of its variance over the search space"
Curves = Callable[[Sequence[int], Phase], Sequence[CurveRecord]]


@dataclass(frozen=True)
class Influence:
    """The models of a study's hyperparameters, and what they say of one objective.

    Attributes:
        objective: the objective.
        space: the search space.
        trials: trials that the models learned from.
        until: environment steps after which their scores were taken: where at least half of all trials were.
        points: their configurations in the unit cube, shape (n, d), NaN where inactive.
        scores: their scores by tuning seed, shape (n, seeds), NaN where a seed was not trained so far.
        values: the objective of each, shape (n,); where trials were trained on different seeds, means that are adjusted
            for which.
        failed: trials that failed and are not among them.
        forest: the model of the values.
    """

    objective: ObjectiveSpec
    space: SearchSpace
    trials: tuple[TrialRecord, ...]
    until: int
    points: Points
    scores: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    failed: int
    forest: Forest

    @property
    def higher_is_better(self) -> bool:
        """The objective's direction."""
        return self.objective.direction == "maximize"

    @property
    def names(self) -> list[str]:
        """The hyperparameters, in the order of the axes."""
        return [parameter.name for parameter in self.space]

    @cached_property
    def fanova(self) -> npt.NDArray[np.float64]:
        """Each hyperparameter's share of the variance over the space, shape (d,)."""
        return main_effects(self.forest)

    @cached_property
    def ped_anova(self) -> npt.NDArray[np.float64]:
        """How much each decides whether a configuration is among the best, shape (d,)."""
        return ped_anova(self.forest.domain, self.points, self.values, higher_is_better=self.higher_is_better)

    @property
    def best_share(self) -> float:
        """How many of the trials PED-ANOVA takes for the best."""
        return best_share(len(self.trials))

    @property
    def adjusted(self) -> bool:
        """Whether trials were trained on different seeds, so that their means had to be adjusted."""
        return bool(np.isnan(self.scores).any())

    @cached_property
    def by_seed(self) -> list[Forest]:
        """A model for each seed that has enough trials of its own; none if the objective is how seeds scatter."""
        forests: list[Forest] = []
        if self.objective.statistic not in LOCATIONS:
            return forests
        for column in self.scores.T:
            own = np.isfinite(column)
            if own.sum() >= FEWEST_TRIALS and np.ptp(column[own]) > 0:
                forests.append(Forest(self.forest.domain, self.points[own], column[own]))
        return forests

    @cached_property
    def fanova_by_seed(self) -> npt.NDArray[np.float64]:
        """The same shares from each seed's scores alone, shape (seeds, d)."""
        return np.array([main_effects(forest) for forest in self.by_seed]).reshape(-1, len(self.names))

    def over_seeds(self, index: int) -> Estimate | None:
        """Return a hyperparameter's share as an estimate over seeds; None with fewer than two."""
        return estimate(self.fanova_by_seed[:, index]) if len(self.by_seed) > 1 else None

    @cached_property
    def agreement(self) -> float | None:
        """Whether seeds agree on the order of the hyperparameters (Kendall's W); None with fewer than two of either."""
        if min(self.fanova_by_seed.shape) < 2:
            return None
        found = agreement(self.fanova_by_seed)
        return None if math.isnan(found) else found

    @cached_property
    def chance_of_agreement(self) -> float | None:
        """How often seeds that order at random would agree this much; None where they are too few to tell."""
        if self.agreement is None or math.factorial(len(self.names)) ** (1 - len(self.by_seed)) > SMALLEST_CHANCE:
            return None
        return chance_of_agreement(self.fanova_by_seed)

    @cached_property
    def ranked(self) -> list[int]:
        """Axes, the most important by fANOVA first."""
        return [int(index) for index in np.argsort(-self.fanova, kind="stable")]

    @cached_property
    def interactions(self) -> Mapping[tuple[int, int], float]:
        """What pairs of the most important axes explain beyond each alone."""
        return interactions(self.forest, self.ranked[:PAIRED])

    def effect(self, index: int) -> Effect:
        """Return the effect of one hyperparameter over the space."""
        return self._effects[index]

    def effects_by_seed(self, index: int) -> list[npt.NDArray[np.float64]]:
        """Return its partial dependence in each seed's model."""
        return [effects[index].mean for effects in self._effects_by_seed]

    @cached_property
    def _effects(self) -> list[Effect]:
        return [effect(self.forest, index) for index in range(len(self.names))]

    @cached_property
    def _effects_by_seed(self) -> list[list[Effect]]:
        return [[effect(forest, index) for index in range(len(self.names))] for forest in self.by_seed]

    def value_at(self, index: int, place: float) -> object:
        """Return the value, as training uses it, at a place of an axis."""
        parameter = self.space.parameters[index]
        return parameter.value(from_unit(parameter.domain, place))

    def point(self, trial: TrialRecord) -> Points:
        """Return a trial's configuration as a point."""
        return _point(self.space, trial.config)

    def around(self, trial: TrialRecord) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
        """Return the local importance around a trial, and how the score changes next to it, for each axis."""
        point = self.point(trial)
        return local_importance(self.forest, point), neighbours(self.forest, point)

    def path(self, start: TrialRecord, end: TrialRecord) -> tuple[float, list[Step]]:
        """Return the ablation path from one trial to another."""
        return ablation_path(self.forest, self.point(start), self.point(end), higher_is_better=self.higher_is_better)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `--format json`."""
        shares = {
            name: {"fanova": float(self.fanova[index]), "ped_anova": float(self.ped_anova[index])}
            for index, name in enumerate(self.names)
        }
        return {
            "objective": self.objective.words,
            "trials": len(self.trials),
            "failed_trials": self.failed,
            "env_steps": self.until,
            "explained": self.forest.explained,
            "importance": shares,
            "agreement_of_seeds": self.agreement,
            "chance_of_agreement": self.chance_of_agreement,
        }


def influences(found: Findings, curves: Curves) -> list[Influence | str]:
    """Learn what the hyperparameters do to each objective; see `influence`."""
    return [influence(found, curves, index) for index in range(len(found.spec.objectives))]


def influence(found: Findings, curves: Curves, index: int = 0) -> Influence | str:
    """Learn what the hyperparameters do to an objective, or say why the trials do not tell.

    Args:
        found: the study.
        curves: reads curves of trials in a phase; asked only where scores before the end of runs are needed.
        index: of the objective.
    """
    objective = found.spec.objectives[index]
    space = found.spec.space
    if not len(space):
        return "The search space has no hyperparameter."
    scored = [trial for trial in found.trials if trial.value is not None]
    if len(scored) < FEWEST_TRIALS:
        return f"{len(scored)} trials have a score; a model of the hyperparameters needs at least {FEWEST_TRIALS}."
    until = sorted((trial.env_steps for trial in scored), reverse=True)[(len(scored) - 1) // 2]
    used = [trial for trial in scored if trial.env_steps >= until]
    used = used[:: -(-len(used) // MOST_TRIALS)]
    scores = _scores(found, used, until, index, curves)
    told = [row for row, own in enumerate(scores) if np.isfinite(own).any()]
    used, scores = [used[row] for row in told], scores[told]
    if len(used) < FEWEST_TRIALS:
        return f"{len(used)} trials have a score after {until:,} steps; a model needs at least {FEWEST_TRIALS}."
    if objective.statistic not in LOCATIONS:  # of which means adjusted for missing seeds say nothing
        whole = [row for row, own in enumerate(scores) if np.isfinite(own).all()]
        used, scores = [used[row] for row in whole], scores[whole]
        if len(used) < FEWEST_TRIALS:
            return (
                f"{len(used)} trials have a score on every tuning seed after {until:,} steps; a model of their "
                f"{objective.statistic.partition('_')[0]} needs at least {FEWEST_TRIALS}."
            )
    complete = np.isfinite(scores).all()
    values = aggregate_rows(scores, objective.statistic) if complete else adjusted_means(scores)
    if np.ptp(values) == 0:
        return "All trials have the same score: no hyperparameter makes a difference."
    points = np.array([_point(space, trial.config) for trial in used])
    return Influence(
        objective,
        space,
        tuple(used),
        until,
        points,
        scores,
        values,
        len({run.trial for run in found.failed if run.phase == "tuning"}),
        Forest(domain(space), points, values),
    )


def shares(seen: Sequence[Influence | str]) -> list[tuple[str, list[float | None]]]:
    """Return each hyperparameter and its share of the variance (0 to 1) of each objective, None where no model tells.

    Args:
        seen: of each objective, what `influence` returned.

    Returns:
        The hyperparameters, those first that explain most of any objective; empty without a model.
    """
    models = [each if isinstance(each, Influence) else None for each in seen]
    names = next((model.names for model in models if model is not None), [])
    rows = [
        (name, [None if model is None else float(model.fanova[axis]) for model in models])
        for axis, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: -max(share for share in row[1] if share is not None))


def domain(space: SearchSpace) -> Domain:
    """Return a search space as axes and the rule of which are active."""
    axes = tuple(
        Axis(p.name, choices=len(p.domain.values))
        if isinstance(p.domain, Choice)
        else Axis(p.name, steps=bins(p.domain) or 0)
        for p in space
    )
    at = {parameter.name: index for index, parameter in enumerate(space)}
    conditions = [
        (index, at[parent], _holds(space[parent], values))
        for index, parameter in enumerate(space)
        for parent, values in parameter.when
    ]

    def active(points: Points) -> npt.NDArray[np.bool_]:
        found = np.ones(points.shape, dtype=bool)
        for index, parent, holds in conditions:
            found[:, index] &= found[:, parent] & holds(points[:, parent])
        return found

    return Domain(axes, active)


def _holds(parent: Parameter, values: Sequence[object]) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]:
    """Return what says at which places of a parent's axis a condition holds."""

    def at(place: float) -> bool:
        value = parent.value(from_unit(parent.domain, place))
        return any(same(value, allowed) for allowed in values)

    count = bins(parent.domain)
    if count is None:  # integers on a logarithmic scale have no bins of one width
        return lambda places: np.array([at(float(place)) for place in np.nan_to_num(places)], dtype=bool)
    there = np.array([at((index + 0.5) / count) for index in range(count)])
    return lambda places: there[np.minimum((np.nan_to_num(places) * count).astype(int), count - 1)]


def _point(space: SearchSpace, config: Configuration) -> Points:
    places = [place(parameter, config) for parameter in space]
    return np.array([math.nan if each is None else each for each in places])


def _scores(
    found: Findings, trials: Sequence[TrialRecord], until: int, index: int, curves: Curves
) -> npt.NDArray[np.float64]:
    """Return what runs scored for an objective after so many steps, shape (trials, seeds).

    From the curves of those that went further.
    """
    seeds = found.spec.seeds.tuning
    scores = np.full((len(trials), len(seeds)), math.nan)
    column = {seed: index for index, seed in enumerate(seeds)}
    row = {trial.number: index for index, trial in enumerate(trials)}
    further = set()
    for trial in trials:
        for run in found.runs.get(trial.number, ()):
            if run.phase != "tuning" or not run.scores or run.seed not in column:
                continue
            if run.env_steps == until or (run.state == "completed" and until == found.spec.budget.steps_per_run):
                scores[row[trial.number], column[run.seed]] = run.scores[index]
            elif run.env_steps > until:
                further.add(trial.number)
    if further:
        seconds = {run.run: run.cpu_seconds for own in found.runs.values() for run in own}
        for record in curves(sorted(further), "tuning"):
            scored = course(found.spec, record.points, seconds[record.run])
            reached = [measured for steps, measured in scored if steps <= until]
            if reached and record.points[-1].env_steps > until and record.run.seed in column:
                scores[row[record.run.trial], column[record.run.seed]] = reached[-1][index]
    return scores
