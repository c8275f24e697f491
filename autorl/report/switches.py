"""What the changes do that a study tried by themselves: its enqueued configurations beside the default."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from autorl.analysis.estimate import Estimate
from autorl.report.findings import Findings
from autorl.report.words import setting
from autorl.trial import Phase

PHASES: tuple[Phase, ...] = ("test", "tuning")
TOGETHER = "The 95 % intervals hold together if all configurations scatter alike (Dunnett's)."
"""What is said of the intervals."""


@dataclass(frozen=True)
class Switch:
    """A configuration that was asked for beside the default.

    Attributes:
        trial: its number.
        change: what of it differs from the default: `loss: cispo`.
        phase: whose seeds it is compared on: `test` where all switches of a study were tested, else `tuning`.
        seeds: how many of them it was trained on.
        failed: how many of them it failed on. Of one that failed nothing is said: the seeds that it survived may be its
            lucky ones.
        effect: its mean score over these seeds minus the default's, with an interval that holds for all switches of a
            study at once; NaN if it failed on one.
    """

    trial: int
    change: str
    phase: Phase
    seeds: int
    failed: int
    effect: Estimate

    @property
    def decided(self) -> bool:
        """Whether the interval of the effect excludes 0."""
        return self.effect.low > 0.0 or self.effect.high < 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**vars(self), "effect": self.effect.to_dict()}


def switches(found: Findings) -> list[Switch]:
    """Return the enqueued configurations with at least two seeds, the best effect first.

    They are all tried whatever comes of them, so that tuning seeds are as good as test seeds unless the optimizer goes
    on with some of them only. Once `autorl test --trial` has tested all of them, it is their test seeds that count.

    Each is compared with the same default, and a study may try twenty: of twenty intervals that hold 95 times in 100
    each, one excludes 0 by chance. Dunnett's (1955, doi 10.1080/01621459.1955.10501294) hold together: in 95 of 100
    studies, all of them do. They take one variance for all configurations, which a few seeds of each could not tell.
    """
    for phase in PHASES:
        scores = {trial.number: _scores(found, trial.number, phase) for trial in found.trials}
        failed = {trial.number: _failed(found, trial.number, phase) for trial in found.trials}
        asked = [trial.number for trial in found.trials if trial.origin == "enqueued"]
        tried = [number for number in asked if len(scores[number]) >= 2 and not failed[number]]
        known = len(scores.get(0, ())) >= 2 and not failed[0]
        judged = [number for number in asked if number in tried or failed[number]]
        if judged and known and (phase == "tuning" or judged == asked):
            break
    else:
        return []
    found_effects = _effects(scores[0], [scores[number] for number in tried]) if tried else []
    effects = dict(zip(tried, found_effects, strict=True))
    nothing = Estimate(math.nan, math.nan, math.nan)
    result = [
        Switch(number, _change(found, number), phase, len(scores[number]), failed[number], effects.get(number, nothing))
        for number in judged
    ]
    sign = 1 if found.spec.objective.direction == "maximize" else -1
    return sorted(result, key=lambda switch: (switch.failed, -sign * switch.effect.value if not switch.failed else 0))


def _scores(found: Findings, trial: int, phase: Phase) -> list[float]:
    runs = (run for run in found.runs.get(trial, ()) if run.phase == phase and run.state == "completed")
    return [run.score for run in runs if run.score is not None]


def _failed(found: Findings, trial: int, phase: Phase) -> int:
    return sum(run.phase == phase and run.state == "failed" for run in found.runs.get(trial, ()))


def _effects(default: Sequence[float], others: Sequence[Sequence[float]]) -> list[Estimate]:
    with warnings.catch_warnings():
        # Scores that are all the same, seed for seed, have no variance to divide by; their intervals are right.
        warnings.simplefilter("ignore", RuntimeWarning)
        # The critical value is an integral by quasi-Monte-Carlo: a fixed seed, or a report would change as one looks.
        interval = stats.dunnett(*others, control=default, rng=np.random.default_rng(0)).confidence_interval()
    means = [float(np.mean(other) - np.mean(default)) for other in others]
    return [Estimate(*ends) for ends in zip(means, map(float, interval.low), map(float, interval.high), strict=True)]


def _change(found: Findings, trial: int) -> str:
    base, values = (found.trials[number].config.values for number in (0, trial))
    changed = [f"{name}: {setting(value)}" for name, value in values.items() if base.get(name) != value]
    return ", ".join([*changed, *(f"no {name}" for name in base if name not in values)]) or "none"
