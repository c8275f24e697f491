"""Which changes made the difference between two configurations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autorl.analysis.sensitivity.effects import filled
from autorl.analysis.sensitivity.forest import Forest, Points


@dataclass(frozen=True)
class Step:
    """One change on the way.

    Attributes:
        index: The axis that changes.
        score: Predicted score after it.
    """

    index: int
    score: float


def ablation_path(
    forest: Forest, start: Points, end: Points, *, higher_is_better: bool = True
) -> tuple[float, list[Step]]:
    """Go from one configuration to another one hyperparameter at a time, the best change first.

    Ablation analysis (Fawcett and Hoos 2016, Journal of Heuristics 22, algorithm 1) with a model's predictions in
    place of runs (Biedenkapp et al. 2017, AAAI). Hyperparameters that are inactive on the way change without effect,
    and take effect when their parent does.

    Args:
        forest: The model.
        start: Where from, such as the default, shape ``(d,)``, NaN where inactive.
        end: Where to, such as the incumbent, shape ``(d,)``.
        higher_is_better: What the best change is.

    Returns:
        The predicted score of `start`, and the steps; their last has the predicted score of `end`.
    """
    sign = 1.0 if higher_is_better else -1.0
    begun, ended = np.isnan(start), np.isnan(end)
    # Where only one of them has a coordinate it stays the same: becoming active is its parent's doing.
    now = filled(np.where(begun, end, start))
    goal = filled(np.where(ended, start, end))
    waiting = [int(index) for index in np.flatnonzero(now != goal)]
    steps = []
    while waiting:
        changed = np.tile(now, (len(waiting), 1))
        changed[np.arange(len(waiting)), waiting] = goal[waiting]
        scores = forest.predict_full(changed)
        best = int(np.argmax(sign * scores))
        now = changed[best]
        steps.append(Step(waiting.pop(best), float(scores[best])))
    return float(forest.predict(start[None])[0]), steps
