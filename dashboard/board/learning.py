"""What learning curves say in numbers, and how early they rank the trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autorl.analysis import (
    area_under_curve,
    estimate,
    fidelity_correlation,
    final_against_best,
    held_out_error,
    sigmoid_fit,
    steps_to_threshold,
    threshold_summary,
)
from autorl.ledger.records import CurveRecord
from autorl.report.findings import Findings
from autorl.report.words import interval, number, probability
from board import figures
from board.curves import Curves
from board.tables import NONE, named

FEWEST_TRIALS = 4
MOST_TRIALS = 300
FEWEST_POINTS = 5
"""Evaluations that a sigmoid's four parameters need at least."""


def table(found: Findings, shown: Mapping[int, Curves], threshold: float) -> pd.DataFrame:
    """Return one row a trial: how much was learned, how soon, whether it lasted, and where it was going.

    Args:
        found: the study.
        shown: trial → its curves.
        threshold: value of the metric to be reached.
    """
    direction = found.spec.objective.direction
    rows = []
    for trial, curves in shown.items():
        if len(curves.steps) < 2:
            continue
        steps = np.array(curves.steps, dtype=float)
        values = np.array([[own[step] for step in curves.steps] for own in curves.seeds.values()])
        area, lost = estimate(area_under_curve(steps, values)), final_against_best(values, direction=direction)
        reached = threshold_summary(steps_to_threshold(steps, values, threshold, direction=direction))
        soon = f"{reached.median_env_steps:,.0f} steps" if math.isfinite(reached.median_env_steps) else "never"
        rows.append(
            {
                "trial": named(found, trial),
                "mean over training (area under the curve)": f"{number(area.value)}, {interval(area)}",
                f"reaches {number(threshold)}": f"median {soon}; {reached.share:.0%} of seeds",
                "loses from its best to the end": number(float(np.mean(lost))),
                "where it was going": _going(steps, np.array(curves.middle), direction),
            }
        )
    return pd.DataFrame(rows)


def _going(steps: Any, middle: Any, direction: Any) -> str:
    """Say what a fitted sigmoid approaches, and how well its first half foretold the second."""
    if len(steps) < FEWEST_POINTS or np.ptp(middle) == 0.0:
        return NONE
    fit = sigmoid_fit(steps, middle, direction=direction)
    if not fit.identified:
        return "not told by these evaluations"
    if len(steps) < 2 * FEWEST_POINTS:
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
