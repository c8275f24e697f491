"""What the seeds of a study say about how far its scores can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from autorl.analysis import (
    Estimate,
    VarianceSplit,
    difference,
    rank_correlation,
    seeds_needed,
    split_variance,
    winners_curse,
)
from autorl.analysis.estimate import aggregate_rows
from autorl.report.findings import Findings
from autorl.trial import Phase

FEWEST_TRIALS = 5
"""Trials below which the winner's curse is not estimated: its error would be as large as itself."""
MOST_RANKED = 2_000
"""Trials whose ranks are compared between seeds at most; of more, evenly many from first to last."""


@dataclass(frozen=True)
class Evidence:
    """What the tuning seeds say of each other, and what later seeds say of them.

    Attributes:
        trials: numbers of the trials with a final score on every tuning seed: only they can be compared seed by seed.
        scores: these, shape (trials, seeds).
        curse: what the best of them is expected to lose on new seeds; None with fewer than `FEWEST_TRIALS`.
        split: where their differences come from; None with fewer than two trials or seeds.
        rank_between_seeds: mean rank correlation of two tuning seeds; None where the split is, or where ties hide it.
        best: the two best of them, as (trial, score over seeds); fewer if there are fewer.
        needed: seeds that each of the best two would need to be told apart by their means; None if no number would
            do, or the objective is another statistic.
        rank_between_phases: phase → rank correlation of its scores with those of tuning, over the trials with both.
    """

    trials: tuple[int, ...]
    scores: npt.NDArray[np.float64]
    curse: float | None
    split: VarianceSplit | None
    rank_between_seeds: float | None
    best: tuple[tuple[int, float], ...]
    needed: int | None
    rank_between_phases: dict[Phase, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `--format json`."""
        return {
            "trials_on_all_seeds": len(self.trials),
            "winners_curse": self.curse,
            "variance": None
            if self.split is None
            else {
                "configuration": self.split.configuration,
                "seed": self.split.seed,
                "interaction": self.split.interaction,
            },
            "consistency_of_a_seed": None if self.split is None else self.split.consistency.to_dict(),
            "best_two": [{"trial": trial, "tuning_value": value} for trial, value in self.best],
            "seeds_needed": self.needed,
            "rank_between_seeds": self.rank_between_seeds,
            "rank_with_tuning": {phase: found.to_dict() for phase, found in self.rank_between_phases.items()},
        }


def evidence(found: Findings) -> Evidence:
    """Gather what the seeds of a study say."""
    objective = found.spec.objective
    seeds = found.spec.seeds.tuning
    full, rows = [], []
    for trial in found.trials:
        row = _in_full(found, trial.number)
        if len(row) == len(seeds):
            full.append(trial)
            rows.append(row)
    scores = np.array(rows).reshape(-1, len(seeds))
    higher = objective.direction == "maximize"
    curse = split = between = None
    if min(scores.shape) >= 2:
        if len(scores) >= FEWEST_TRIALS and objective.over_seeds in ("mean", "median", "iqm"):
            curse = winners_curse(scores, statistic=objective.statistic, higher_is_better=higher)
        split = split_variance(scores)
        between = _between_seeds(scores)
    values = aggregate_rows(scores, objective.statistic).tolist() if len(full) else []
    order = np.argsort([-value if higher else value for value in values], kind="stable")[:2].tolist()
    needed = None
    if len(order) == 2 and len(seeds) > 1 and objective.over_seeds == "mean":
        needed = seeds_needed(scores[order[0]], scores[order[1]])
    phases: dict[Phase, Estimate] = {}
    later: tuple[Phase, ...] = ("validation", "test")
    for phase in later:
        again = {number for number, runs in found.runs.items() if any(run.phase == phase for run in runs)}
        pairs = [
            (value, found.value(t.number, phase)) for t, value in zip(full, values, strict=True) if t.number in again
        ]
        known = [(a, b) for a, b in pairs if b is not None]
        if len(known) > 3:
            phases[phase] = rank_correlation([a for a, _ in known], [b for _, b in known])
    return Evidence(
        tuple(trial.number for trial in full),
        scores,
        curse,
        split,
        between,
        tuple((full[i].number, values[i]) for i in order),
        needed,
        phases,
    )


def tuning_minus_test(found: Findings, trial: int) -> Estimate | None:
    """Estimate by how much a trial's tuning score exceeds its test score; None unless both are complete.

    The interval covers chance between seeds. For a trial that was chosen for its tuning score the gap is what choosing
    did to it.
    """
    if found.value(trial, "tuning") is None or found.value(trial, "test") is None:
        return None
    tuning, test = found.scores(trial, "tuning"), found.scores(trial, "test")
    return difference(tuning, test, statistic=found.spec.objective.statistic)


def _in_full(found: Findings, trial: int) -> list[float]:
    """Return the scores of the tuning runs that were trained in full."""
    own = [run for run in found.runs.get(trial, ()) if run.phase == "tuning" and run.state == "completed"]
    return [run.score for run in own if run.score is not None]


def _between_seeds(scores: npt.NDArray[np.float64]) -> float | None:
    shown = scores[:: -(-len(scores) // MOST_RANKED)]
    found = [rank_correlation(shown[:, a], shown[:, b]).value for a, b in combinations(range(scores.shape[1]), 2)]
    known = [value for value in found if np.isfinite(value)]
    return float(np.mean(known)) if known else None
