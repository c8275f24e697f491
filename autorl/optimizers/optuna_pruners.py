"""Optuna's pruners as options: where a trial pauses in training, and who decides whether it goes on."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, PercentilePruner, WilcoxonPruner
from pydantic import Field

from autorl.errors import AutorlError
from autorl.optimizers.protocol import Question
from autorl.spec.section import Spec, Whole

_KEYS = {
    "none": (),
    "median": ("every", "warmup", "startup_trials"),
    "percentile": ("percentile", "every", "warmup", "startup_trials"),
    "wilcoxon": ("p_threshold", "startup_seeds"),
    "hyperband": ("reduction_factor", "min_points"),
}


class PrunerSpec(Spec):
    """Which trials are stopped early. Points are the study's evaluation points, counted from 1."""

    name: Literal["none", "median", "percentile", "wilcoxon", "hyperband"] = Field(
        description="median, percentile: a trial whose best objective so far is below that of earlier trials at the "
        "same point; wilcoxon: worse than the best trial on the seeds that both have; hyperband: as the bracket that a "
        "trial falls into by chance halves its trials."
    )
    percentile: float | None = Field(
        default=None, gt=0, lt=100, description="percentile: share of the trials (%) that go on; required."
    )
    every: Whole = Field(default=1, gt=0, description="median, percentile: points from one decision to the next.")
    warmup: Whole = Field(
        default=0, ge=0, description="median, percentile: the point of the first decision; 0: as 'every' says."
    )
    startup_trials: Whole = Field(
        default=5, ge=0, description="median, percentile: trials that finish before any is stopped."
    )
    p_threshold: float = Field(
        default=0.1, gt=0, lt=1, description="wilcoxon: p value of the signed-rank test below which a trial is stopped."
    )
    startup_seeds: Whole = Field(
        default=2, ge=2, description="wilcoxon: seeds that a trial is trained on before it may be stopped."
    )
    reduction_factor: Whole = Field(
        default=3, ge=2, description="hyperband: one in so many trials goes on from each point of decision to the next."
    )
    min_points: Whole = Field(default=1, gt=0, description="hyperband: the point of the first decision.")

    def mistakes(self) -> list[tuple[str, str]]:
        """Find keys that belong to another pruner, and a percentile that is missing."""
        found = []
        for key, info in type(self).model_fields.items():
            if key not in ("name", *_KEYS[self.name]) and getattr(self, key) != info.default:
                known = ", ".join(_KEYS[self.name]) or "none"
                found.append((key, f"'{key}' is no option of {self.name}; its options: {known}"))
        if self.name == "percentile" and self.percentile is None:
            found.append(("", "percentile needs 'percentile', the share of the trials (%) that go on"))
        return found


@dataclass(frozen=True)
class Stage:
    """A stretch of training after which a trial may be stopped.

    Attributes:
        seeds: those that are trained.
        until: environment steps that they reach.
        step: what Optuna is told as the step of its objective.
    """

    seeds: tuple[int, ...]
    until: int
    step: int


@dataclass(frozen=True)
class Course:
    """The stages of every trial, and who decides between them.

    Attributes:
        stages: in order; after the last a trial is complete.
        pruner: decides whether a trial goes on; None if there is nothing to decide.
        over_seeds: whether each stage trains another seed in full, rather than all seeds further. The objective of a
            trial is then the mean over its stages, also of one that was stopped, as Optuna's documentation advises for
            the Wilcoxon pruner.
    """

    stages: tuple[Stage, ...]
    pruner: BasePruner | None = None
    over_seeds: bool = False


def course(question: Question, seeds: tuple[int, ...], spec: PrunerSpec) -> Course:
    """Return the stages in which trials are trained on some seeds, and the pruner between them.

    Raises:
        AutorlError: the pruner could never stop a trial of this study.
    """
    if spec.name == "none":
        return Course((Stage(seeds, question.until, len(question.points)),))
    if spec.name == "wilcoxon":
        return _over_seeds(question, seeds, spec)
    last = len(question.points)
    pruner: BasePruner
    if spec.name == "hyperband":
        rungs = [spec.min_points * spec.reduction_factor**rung for rung in range(last.bit_length())]
        pruner = HyperbandPruner(spec.min_points, last, spec.reduction_factor)
    else:
        # Decisions are asked for at these points only, so Optuna's own warm-up and interval are not needed.
        rungs = list(range(spec.warmup or spec.every, last, spec.every))
        pruner = (
            MedianPruner(spec.startup_trials)
            if spec.percentile is None
            else PercentilePruner(spec.percentile, spec.startup_trials)
        )
    steps = [*(rung for rung in rungs if rung < last), last]
    if len(steps) == 1:
        raise AutorlError(
            f"optimizer.pruner: the first decision comes after the last of the {last} evaluation points; "
            f"lower 'warmup', 'every' or 'min_points', or raise evaluation.points"
        )
    return Course(tuple(Stage(seeds, question.points[step - 1], step) for step in steps), pruner)


def _over_seeds(question: Question, seeds: tuple[int, ...], spec: PrunerSpec) -> Course:
    # The smallest p value of a one-sided signed-rank test of n pairs is 2 ** -n; after the last seed it is too late.
    wanted = max(math.floor(-math.log2(spec.p_threshold)) + 1, spec.startup_seeds) + 1
    if len(seeds) < wanted:
        raise AutorlError(
            f"optimizer.pruner: Wilcoxon's test with p_threshold {spec.p_threshold} and startup_seeds "
            f"{spec.startup_seeds} can stop no trial before it has had {wanted - 1} seeds; a trial has {len(seeds)} in "
            f"all, so raise p_threshold, or give {wanted} or more tuning seeds"
        )
    stages = tuple(Stage((seed,), question.until, step) for step, seed in enumerate(seeds))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # it may still change; it is chosen knowingly
        pruner = WilcoxonPruner(p_threshold=spec.p_threshold, n_startup_steps=spec.startup_seeds)
    return Course(stages, pruner, over_seeds=True)
