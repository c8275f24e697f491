"""What a trainer reports, made the evaluation points of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autorl.training.protocol import Host
from autorl.trial import Point, Recipe

_LONGEST = 80


class ReportError(Exception):
    """A trainer reported what cannot be evaluated, or too little."""


@dataclass
class Reports:
    """Turns reports, which come whenever the trainer likes, into evaluations at the points of a run.

    The value of a metric at a point is the mean of what was reported since the point before. Where nothing was, it
    stays what it was: an episode may be longer than the steps between two points.

    Args:
        recipe: of the run.
        asked: metrics that each point must have.
        until: environment steps at which the run pauses or ends.
        host: who is told of points.
        curve: the points so far; new ones are added.

    Attributes:
        env_steps: the steps last reported.
    """

    recipe: Recipe
    asked: Sequence[str]
    until: int
    host: Host
    curve: list[Point]
    env_steps: int = 0
    _new: dict[str, list[float]] = field(default_factory=dict)
    _odd: str = ""
    _known: int = -1

    def __post_init__(self) -> None:
        self._due = tuple(step for step in self.recipe.points if step <= self.until)

    @property
    def over(self) -> bool:
        """Whether everything up to `until` has been reported."""
        return not self._left and self.env_steps >= self.until

    @property
    def _left(self) -> tuple[int, ...]:
        return self._due[len(self.curve) :]

    def take(self, env_steps: float | None, metrics: Mapping[str, Any], wall_seconds: float) -> None:
        """Take a report.

        Args:
            env_steps: steps trained so far; None for as many as in the report before.
            metrics: metric → number; what is no number is passed over.
            wall_seconds: seconds trained so far.

        Raises:
            FloatingPointError: a metric that the study asks for is not finite.
            ReportError: the steps are no count, or a point is passed that has no value.
        """
        steps = self.env_steps if env_steps is None else _count(env_steps)
        if steps <= self._known:  # it goes on from a state older than what has been taken
            self.host.alive(self.env_steps)
            return
        if steps > self.env_steps:
            self._close_passed(self.env_steps, wall_seconds)
            while len(self._left) > 1 and self._left[1] <= steps:  # this report goes past points, and is of the last
                if not self.curve and not self._new:
                    raise ReportError(f"nothing was reported in the first {self._left[1]:,} steps; {self._advice}")
                self._close_passed(self._left[0], wall_seconds)
            self.env_steps = steps
        for name, value in metrics.items():
            number = as_number(value)
            if number is not None and math.isfinite(number):
                self._new.setdefault(name, []).append(number)
            elif number is not None and name in self.asked:
                raise FloatingPointError(f"after {self.env_steps:,} steps {name} is {number}")
            elif name in self.asked:
                self._odd = f"; '{name}' was {_shortened(value)}, which is no number"
        self.host.alive(self.env_steps)
        if all(name in self._new for name in self.asked):
            self._close_passed(self.env_steps, wall_seconds)

    def end(self, wall_seconds: float) -> None:
        """Take note that the trainer ended of its own accord, perhaps a little early: some train whole batches only.

        Raises:
            ReportError: it had more than one point to go, or has reported nothing beyond the last but one.
        """
        beyond = len(self._due) > 1 and self.env_steps > self._due[-2]
        heard = any(name in self._new for name in self.asked)
        if len(self._left) > 1 or (self._left and not heard and not beyond):
            raise ReportError(
                f"it ended after {self.env_steps:,} of {self.until:,} environment steps, with {len(self._left)} of "
                f"{self.recipe.evaluation_points} evaluations to go; {self._advice}{self._odd}"
            )
        self.env_steps = max(self.env_steps, self.until)
        self._close_passed(self.env_steps, wall_seconds)

    def state(self) -> dict[str, Any]:
        """Return what has been taken beside the curve, as plain data."""
        return {"env_steps": self.env_steps, "new": self._new}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Be what `state` was returned of; what is reported again of the same steps is passed over."""
        self.env_steps = self._known = state["env_steps"]
        self._new = {name: [*values] for name, values in state["new"].items()}

    @property
    def _advice(self) -> str:
        every = self.recipe.points[0]
        return f"report at least every {every:,} steps, or set evaluation.points to what it reports"

    def _close_passed(self, env_steps: int, wall_seconds: float) -> None:
        if not self._left or self._left[0] > env_steps:
            return
        before = self.curve[-1].metrics if self.curve else {}
        metrics = {**before, **{name: math.fsum(values) / len(values) for name, values in self._new.items()}}
        self._new.clear()
        for name in self.asked:
            if name not in metrics:
                known = f"it reported {', '.join(sorted(metrics))}" if metrics else "it reported nothing"
                raise ReportError(f"no '{name}' in the first {env_steps:,} environment steps: {known}{self._odd}")
        self.curve.append(Point(env_steps, wall_seconds, metrics))
        self.host.evaluated(self.curve[-1])


def as_number(value: Any) -> float | None:
    """Return what was reported as a number, NumPy's and torch's included, or None if it is none."""
    if isinstance(value, bool | str) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        return None


def _shortened(value: Any) -> str:
    return value if len(value := repr(value)) <= _LONGEST else f"{value[:_LONGEST]}…"


def _count(env_steps: Any) -> int:
    number = as_number(env_steps)
    if number is None or not math.isfinite(number) or number < 0:
        raise ReportError(f"{env_steps!r} was reported as environment steps; they count from 0")
    return int(number)
