"""What learning curves say in numbers, and how early they rank the trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autorl.analysis import (
    aggregate,
    area_under_curve,
    estimate,
    fidelity_correlation,
    final_against_best,
    held_out_error,
    sigmoid_fit,
    steps_to_threshold,
    threshold_summary,
)
from autorl.analysis.checks import Direction
from autorl.ledger.records import CurveRecord
from autorl.report.findings import Findings
from autorl.report.words import interval, number, probability
from autorl.trial import Phase
from board import figures
from board.curves import Curves
from board.tables import NONE, named

FEWEST_TRIALS = 4
MOST_TRIALS = 300
FEWEST_POINTS = 5
"""Evaluations that a sigmoid's four parameters need at least."""


def table(found: Findings, shown: Mapping[int, Curves], phase: Phase, threshold: float) -> pd.DataFrame:
    """Return one row a trial: how much was learned, how soon, whether it lasted, and where it was going.

    Seeds on which a run failed have not reached the threshold unless they had before; what else there is to say is
    said of the others.

    Args:
        found: the study.
        shown: trial → its curves of the objective's metric.
        phase: whose seeds.
        threshold: value of the metric to be reached.
    """
    direction, statistic = found.spec.curve_direction, found.spec.objective.statistic
    rows = []
    for trial, curves in shown.items():
        failed = {run.seed for run in found.runs.get(trial, ()) if run.phase == phase and run.state == "failed"}
        whole = [own for seed, own in curves.seeds.items() if seed not in failed]
        common = sorted(set.intersection(*map(set, whole))) if whole else []
        if len(common) < 2:
            continue
        steps, values = np.array(common, dtype=float), np.array([[own[step] for step in common] for own in whole])
        soon = [*steps_to_threshold(steps, values, threshold, direction=direction)]
        soon += [_reached(curves.seeds.get(seed, {}), threshold, direction) for seed in failed]
        reached, area = threshold_summary(soon), estimate(area_under_curve(steps, values))
        median = f"{reached.median_env_steps:,.0f} steps" if math.isfinite(reached.median_env_steps) else "never"
        lost = final_against_best(values, direction=direction)
        middle = np.array([aggregate(column, statistic) for column in values.T])
        rows.append(
            {
                "trial": named(found, trial),
                "seeds": f"{len(whole)}" + (f" ({len(failed)} more failed)" if failed else ""),
                "mean over training (area under the curve)": f"{number(area.value)}, {interval(area)}",
                f"reaches {number(threshold)}": f"median {median}; {reached.share:.0%} of seeds",
                "loses from its best to the end": number(float(np.mean(lost))),
                "where it was going": _going(steps, middle, found.spec.middle_direction),
            }
        )
    return pd.DataFrame(rows)


def _reached(own: Mapping[int, float], threshold: float, direction: Direction) -> float:
    """Return when a curve that broke off had reached a threshold; infinity if it had not."""
    if not own:
        return math.inf
    steps = sorted(own)
    return float(steps_to_threshold(steps, [[own[step] for step in steps]], threshold, direction=direction)[0])


def _going(steps: npt.NDArray[np.float64], middle: npt.NDArray[np.float64], direction: Direction) -> str:
    """Say what a fitted sigmoid approaches, and how well its first half foretold the second."""
    if len(steps) < FEWEST_POINTS or np.ptp(middle) == 0.0:
        return NONE
    fit = sigmoid_fit(steps, middle, direction=direction)
    if not fit.identified:
        return "not told by these evaluations"
    if (steps <= steps[-1] / 2).sum() < FEWEST_POINTS:
        return f"towards {number(fit.asymptote)}"
    error = held_out_error(steps, middle, direction=direction)
    return f"towards {number(fit.asymptote)}; its first half missed the end by {number(error.last)}"


def sample(found: Findings) -> tuple[int, ...]:
    """Return trials whose tuning scores are final, at most `MOST_TRIALS` of them, evenly spread."""
    full = [trial.number for trial in found.trials if found.value(trial.number, "tuning") is not None]
    return tuple(full[:: max(1, -(-len(full) // MOST_TRIALS))])


def early(found: Findings, records: Sequence[CurveRecord], metric: str) -> figures.Picture | None:
    """Draw how well scores during training rank trials as their final ones do; None with fewer than four trials.

    Args:
        found: the study.
        records: tuning curves of trials that were trained in full.
        metric: what to rank by.
    """
    curves: dict[int, list[dict[int, float]]] = {}
    for record in records:
        own = {p.env_steps: p.metrics[metric] for p in record.points if math.isfinite(p.metrics.get(metric, math.nan))}
        curves.setdefault(record.run.trial, []).append(own)
    every = [own for seeds in curves.values() for own in seeds]
    steps = sorted(set.intersection(*map(set, every))) if every else []
    if len(curves) < FEWEST_TRIALS or len(steps) < 2:
        return None
    values = np.array([[np.mean([own[step] for own in seeds]) for step in steps] for seeds in curves.values()])
    correlations = [each.correlation for each in fidelity_correlation(values)]
    rows = [
        {"environment steps": step, "rank correlation": e.value, "low": e.low, "high": e.high}
        for step, e in zip(steps, correlations, strict=True)
    ]
    frame = pd.DataFrame(rows)
    known = frame.dropna(subset=["rank correlation"])
    if len(known) < 2:
        return None
    figure = go.Figure()
    figure.add_scatter(
        x=known["environment steps"],
        y=known["rank correlation"],
        mode="lines+markers",
        line={"color": figures.COLOURS[0], "width": 3},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (known["high"] - known["rank correlation"]).fillna(0.0).tolist(),
            "arrayminus": (known["rank correlation"] - known["low"]).fillna(0.0).tolist(),
            "color": figures.tint(figures.COLOURS[0], 0.5),
        },
        showlegend=False,
        hovertemplate="%{x:,} steps: %{y:.2f}<extra></extra>",
    )
    figures.lay_out(figure, "environment steps", "rank correlation with the final score")
    figure.update_xaxes(rangemode="tozero", tickformat=",d")
    figure.update_yaxes(range=[min(-0.05, float(known["rank correlation"].min()) - 0.05), 1.05])
    third = known.iloc[min(len(known) - 1, max(0, round(len(known) * 0.3) - 1))]
    title = (
        f"After {third['environment steps'] / steps[-1]:.0%} of training, the ranking of {len(curves)} trials has a "
        f"rank correlation of {probability(float(third['rank correlation']))} with the final one."
    )
    early_stops = len(curves) < len(found.ranked) <= MOST_TRIALS
    notes = (
        "Spearman's rank correlation of the means over the tuning seeds, with 95 % intervals. The higher it is early "
        "on, the more stopping trials early saves.",
        *(
            ["Trials that were stopped early have no final score and are not among them, which understates it."]
            if early_stops
            else []
        ),
    )
    return figures.Picture(title, f"{title} A curve over environment steps, to 1 at the end.", figure, frame, notes)
