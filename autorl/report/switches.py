"""What the changes do that a study tried by themselves: its enqueued configurations beside the default."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from autorl.analysis import estimate
from autorl.analysis.estimate import Estimate
from autorl.report.findings import Findings
from autorl.report.words import setting
from autorl.trial import Phase

_FEWEST = 2
"""Seeds that an interval needs at least."""


@dataclass(frozen=True)
class Switch:
    """A configuration that was asked for beside the default.

    Attributes:
        trial: its number.
        change: what of it differs from the default: `loss: cispo`.
        seeds: how many seeds both were trained on.
        effect: its score minus the default's on the same seed, mean over the seeds.
    """

    trial: int
    change: str
    seeds: int
    effect: Estimate

    @property
    def decided(self) -> bool:
        """Whether the interval of the effect excludes 0."""
        return self.effect.low > 0.0 or self.effect.high < 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**vars(self), "effect": asdict(self.effect)}


def switches(found: Findings) -> list[Switch]:
    """Return the enqueued configurations that share at least two tuning seeds with the default, the best effect first.

    A seed's problems, episodes and first network are the same for both, so differences are taken seed by seed.
    """
    default = _by_seed(found, 0, "tuning")
    result = []
    for trial in found.trials:
        own = _by_seed(found, trial.number, "tuning")
        common = sorted(default.keys() & own.keys())
        if trial.origin == "enqueued" and len(common) >= _FEWEST:
            effect = estimate([own[seed] - default[seed] for seed in common])
            result.append(Switch(trial.number, _change(found, trial.number), len(common), effect))
    sign = 1 if found.spec.objective.direction == "maximize" else -1
    return sorted(result, key=lambda switch: -sign * switch.effect.value)


def _by_seed(found: Findings, trial: int, phase: Phase) -> dict[int, float]:
    return {
        run.seed: run.score
        for run in found.runs.get(trial, ())
        if run.phase == phase and run.state == "completed" and run.score is not None
    }


def _change(found: Findings, trial: int) -> str:
    base, values = (found.trials[number].config.values for number in (0, trial))
    changed = [f"{name}: {setting(value)}" for name, value in values.items() if base.get(name) != value]
    return ", ".join([*changed, *(f"no {name}" for name in base if name not in values)]) or "none"
