"""What is measured of runs: what a study optimizes, and what its configurations have to keep to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from autorl.spec.section import Spec

RUN_METRICS: Mapping[str, str] = {
    "wall_seconds": "wall time of training so far, evaluations included",
    "cpu_seconds": "processor time of training so far, evaluations included",
}
"""Metrics that every run has, whatever its backend measures at an evaluation."""
LATENCY = "inference_ms"
"""How long a policy takes for one action, in milliseconds, where the backend measures it."""
TIMES = frozenset((*RUN_METRICS, LATENCY))
"""Metrics that no evaluation repeats to the digit, and that have no learning curve."""


class MeasureSpec(Spec):
    """What is measured of a run: a metric of its evaluations, as one number."""

    metric: str = Field(default="return", description="What each evaluation measures.")
    over_run: Literal["last", "area", "steps_to"] = Field(
        default="last",
        description="How a run's evaluations become its score. last: the last one; area: their mean; "
        "steps_to: environment steps until one is at 'threshold' or above.",
    )
    threshold: float | None = Field(
        default=None, description="steps_to: the metric to reach. A run that never does counts twice its full length."
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find a threshold that is missing, or that nothing uses."""
        if (self.over_run == "steps_to") == (self.threshold is not None):
            return []
        if self.threshold is None:
            return [("threshold", "give the value that the metric is to reach: 'over_run: steps_to' asks when it does")]
        return [("threshold", f"only 'over_run: steps_to' uses it, this is '{self.over_run}'")]

    @property
    def measured(self) -> str:
        """What a run's score is, in words: `return`, `area under return`, `steps to return 475`."""
        if self.over_run == "area":
            return f"area under {self.metric}"
        return self.metric if self.over_run == "last" else f"steps to {self.metric} {self.threshold:g}"


class ObjectiveSpec(MeasureSpec):
    """What is optimized: what is measured of a run, aggregated over the seeds."""

    over_seeds: Literal["mean", "median", "iqm", "std", "cvar"] = Field(
        default="mean",
        description="How the scores of the seeds become one; std: their standard deviation; cvar: the mean of the "
        "worst quarter of them.",
    )
    direction: Literal["maximize", "minimize"] = Field(default="maximize", description="Which way is better.")
    reference: float | None = Field(
        default=None,
        description="With several objectives: the value from which hypervolume is counted, worse than any of interest; "
        "by default the worst of the study's trials.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find a direction that nobody can mean."""
        found = super().mistakes()
        if self.direction == "maximize" and (self.over_run == "steps_to" or self.metric in TIMES):
            found.append(("direction", f"fewer {self.measured} are better; write direction: minimize"))
        return found

    @property
    def statistic(self) -> Literal["mean", "median", "iqm", "std", "cvar_low", "cvar_high"]:
        """How the scores of the seeds become one, for `autorl.analysis`."""
        if self.over_seeds == "cvar":
            return "cvar_low" if self.direction == "maximize" else "cvar_high"
        return self.over_seeds

    @property
    def sign(self) -> float:
        """What values are multiplied by so that higher is better."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def name(self) -> str:
        """What it is called among several: `return`, `return area`, `return std`."""
        measure = self.metric if self.over_run == "last" else f"{self.metric} {self.over_run}"
        return measure if self.over_seeds in ("mean", "median", "iqm") else f"{measure} {self.over_seeds}"

    @property
    def words(self) -> str:
        """The objective in words: `mean return`."""
        return f"{self.over_seeds} {self.measured}"


class ConstraintSpec(MeasureSpec):
    """What a configuration has to keep to, on average over seeds."""

    at_most: float | None = Field(default=None, description="The mean over seeds may not be above it.")
    at_least: float | None = Field(default=None, description="The mean over seeds may not be below it.")
    probability: float = Field(
        default=0.9,
        gt=0.5,
        lt=1,
        description="How likely a configuration has to meet it on as many new seeds as the study tests, to be chosen.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find a constraint without a bound, or with two."""
        found = super().mistakes()
        if (self.at_most is None) == (self.at_least is None):
            found.append(("", "give 'at_most' or 'at_least', one of them"))
        return found

    @property
    def bound(self) -> float:
        """The bound."""
        return self.at_most if self.at_most is not None else self.at_least or 0.0

    @property
    def sign(self) -> float:
        """What values are multiplied by so that lower is safer."""
        return 1.0 if self.at_most is not None else -1.0

    @property
    def words(self) -> str:
        """The constraint in words: `mean cost at most 25`."""
        return f"mean {self.measured} at {'most' if self.at_most is not None else 'least'} {self.bound:g}"
