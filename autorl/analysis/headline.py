"""The headline of a study: what its winner is worth on seeds that chose nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from autorl.analysis.estimate import Estimate, Statistic, estimate
from autorl.analysis.superiority import probability_on_a_fresh_seed

FEW_TEST_SEEDS = 10


@dataclass(frozen=True)
class Headline:
    """Three numbers, each with its interval.

    Attributes:
        tuned: the winner's score on the test seeds.
        default: the default configuration's score on the same seeds.
        probability: that the winner beats the default on a fresh seed; see `probability_on_a_fresh_seed`.
        cautions: what a reader should know before believing them, in sentences.
    """

    tuned: Estimate
    default: Estimate
    probability: Estimate
    cautions: tuple[str, ...]


def headline(
    tuned: npt.ArrayLike,
    default: npt.ArrayLike,
    *,
    statistic: Statistic = "mean",
    direction: Literal["maximize", "minimize"] = "maximize",
    level: float = 0.95,
) -> Headline:
    """Compare the winner with the default configuration on the test seeds.

    The two are compared as independent samples: that they share seeds makes their runs no more alike once the policies
    differ.

    Args:
        tuned: the winner's scores, one a test seed, shape (n,).
        default: the default configuration's scores, shape (m,).
        statistic: how the scores of the seeds become one.
        direction: what is better.
        level: of the intervals.

    Raises:
        ValueError: a score is missing or not finite.
    """
    winner, base = estimate(tuned, statistic, level), estimate(default, statistic, level)
    probability = probability_on_a_fresh_seed(tuned, default, statistic=statistic, direction=direction, level=level)
    cautions = []
    few = min(np.size(tuned), np.size(default))
    if few < FEW_TEST_SEEDS:
        cautions.append(
            f"{few} test seed{'s are' if few > 1 else ' is'} few: below {FEW_TEST_SEEDS} the intervals lean on the "
            "scores being roughly normal, which those of reinforcement learning often are not"
        )
    for name, result, scores in (("tuned", winner, tuned), ("default", base, default)):
        if result.low != result.high:
            continue
        if np.ptp(scores) == 0:
            cautions.append(
                f"every test seed of the {name} configuration scored the same, so its interval has no width; that says "
                "that these seeds showed no spread, not that no seed would"
            )
        else:
            cautions.append(
                f"those test seeds of the {name} configuration that its {statistic} looks at scored the same, so its "
                f"interval has no width; all of them went from {np.min(scores):.4g} to {np.max(scores):.4g}"
            )
    if probability.low <= 0.5 <= probability.high:
        cautions.append(
            "the interval of the probability includes 0.5: these seeds do not tell the two configurations apart"
        )
    return Headline(winner, base, probability, tuple(cautions))
