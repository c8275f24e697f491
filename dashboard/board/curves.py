"""The figure of learning curves: a thin line a seed, the average over the seeds, and a band around it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from autorl.analysis import Statistic, aggregate, estimate
from autorl.ledger.records import CurveRecord
from autorl.report.findings import Findings
from autorl.report.words import number
from autorl.trial import Phase
from board import figures
from board.tables import named

# Student's t with 2 to 4 seeds is so wide that its band would hide the curves: their range is shown instead.
FEW_SEEDS = 5
MOST_TRIALS = len(figures.COLOURS)


@dataclass(frozen=True)
class Curves:
    """A trial's curves of one metric in one phase.

    Attributes:
        seeds: seed → environment steps → value; what is not finite is left out.
        steps: steps at which every seed has a value: only there is there an average that compares like with like.
        middle: the average at each of `steps`.
        low: lower edge of the band at each of `steps`.
        high: upper edge of the band.
        band: what the band is.
    """

    seeds: Mapping[int, Mapping[int, float]]
    steps: Sequence[int]
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    band: str


def summarize(records: Sequence[CurveRecord], metric: str, statistic: Statistic) -> Curves:
    """Average the curves of one trial over its seeds.

    Args:
        records: its curves in one phase, at least one.
        metric: what to average.
        statistic: how, as the study's objective does.
    """
    seeds = {
        record.run.seed: {p.env_steps: p.metrics[metric] for p in record.points if _finite(p.metrics.get(metric))}
        for record in records
    }
    steps = sorted(set.intersection(*(set(values) for values in seeds.values())))
    columns = [[values[step] for values in seeds.values()] for step in steps]
    middle = [aggregate(column, statistic) for column in columns]
    found = [estimate(column, statistic) for column in columns]
    if len(seeds) < FEW_SEEDS or any(math.isnan(e.low) for e in found):
        band = "the lowest to the highest seed"
        return Curves(seeds, steps, middle, [min(c) for c in columns], [max(c) for c in columns], band)
    band = f"the 95 % interval of the {statistic}"
    return Curves(seeds, steps, middle, [e.low for e in found], [e.high for e in found], band)


def summaries(found: Findings, trials: Sequence[int], metric: str, records: Sequence[CurveRecord]) -> dict[int, Curves]:
    """Return trial → its curves of a metric, of those that have any."""
    shown = {}
    for trial in trials:
        own = [record for record in records if record.run.trial == trial]
        if any(_finite(point.metrics.get(metric)) for record in own for point in record.points):
            shown[trial] = summarize(own, metric, found.spec.objective.statistic)
    return shown


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def picture(
    found: Findings, trials: Sequence[int], phase: Phase, metric: str, records: Sequence[CurveRecord]
) -> figures.Picture | None:
    """Draw the learning curves of some trials; None if they have none in this phase.

    Args:
        found: the study.
        trials: at most `MOST_TRIALS` trials.
        phase: whose seeds.
        metric: what to draw.
        records: the trials' curves in that phase.
    """
    statistic = found.spec.objective.statistic
    shown = summaries(found, trials, metric, records)
    if not shown:
        return None
    figure = go.Figure()
    for index, (trial, curves) in enumerate(shown.items()):
        _draw(figure, named(found, trial), curves, index, statistic)
    figures.lay_out(figure, "environment steps", f"{figures.axis(metric)}, {phase} seeds")
    figure.update_xaxes(rangemode="tozero", tickformat=",d")
    title = _title(found, shown, phase, metric)
    return figures.Picture(
        title, _alt(found, shown, title), figure, _table(shown, phase, metric), _notes(found, shown, phase)
    )


def _draw(figure: go.Figure, name: str, curves: Curves, index: int, statistic: str) -> None:
    """Draw one trial: its band first, so that the lines lie over it."""
    colour, dash, symbol = figures.COLOURS[index], figures.DASHES[index], figures.SYMBOLS[index]
    if len(curves.seeds) > 1 and curves.steps:
        figure.add_scatter(
            x=[*curves.steps, *reversed(curves.steps)],
            y=[*curves.high, *reversed(curves.low)],
            mode="lines",
            fill="toself",
            fillcolor=figures.tint(colour, 0.15),
            line={"width": 0},
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
        )
    for seed, values in curves.seeds.items():
        steps = sorted(values)
        figure.add_scatter(
            x=steps,
            y=[values[step] for step in steps],
            mode="lines+markers" if len(steps) == 1 else "lines",
            line={"color": figures.tint(colour, 0.5), "width": 1, "dash": dash},
            legendgroup=name,
            showlegend=False,
            hovertemplate=f"{name}, seed {seed}<br>%{{x:,}} steps: %{{y:.4g}}<extra></extra>",
        )
    figure.add_scatter(
        x=curves.steps,
        y=curves.middle,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 3, "dash": dash},
        marker={"symbol": symbol, "size": 8},
        legendgroup=name,
        hovertemplate=f"{name}, {statistic} of {len(curves.seeds)} seeds<br>%{{x:,}} steps: %{{y:.4g}}<extra></extra>",
    )


def _title(found: Findings, shown: Mapping[int, Curves], phase: Phase, metric: str) -> str:
    last = [
        f"{named(found, trial)} has {number(curves.middle[-1])} after {curves.steps[-1]:,} environment steps"
        for trial, curves in shown.items()
        if curves.steps
    ]
    if not last:
        return f"The {phase} seeds have no evaluation in common yet."
    if len({curves.steps[-1] for curves in shown.values() if curves.steps}) == 1:
        steps = next(curves.steps[-1] for curves in shown.values() if curves.steps)
        values = [f"{number(c.middle[-1])} for {named(found, t)}" for t, c in shown.items() if c.steps]
        what = f"the {found.spec.objective.over_seeds} {metric} on the {phase} seeds is"
        return f"After {steps:,} environment steps {what} {_and(values)}."
    return f"{found.spec.objective.over_seeds.capitalize()} {metric} on the {phase} seeds: {'; '.join(last)}."


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _alt(found: Findings, shown: Mapping[int, Curves], title: str) -> str:
    said = [
        f"{named(found, trial)}: {len(curves.seeds)} seeds, "
        + (f"from {number(curves.middle[0])} at {curves.steps[0]:,} steps" if curves.steps else "no common evaluation")
        + (f" to {number(curves.middle[-1])} at {curves.steps[-1]:,}" if len(curves.steps) > 1 else "")
        for trial, curves in shown.items()
    ]
    return f"{title} Learning curves over environment steps. {'. '.join(said)}."


def _notes(found: Findings, shown: Mapping[int, Curves], phase: Phase) -> tuple[str, ...]:
    statistic = found.spec.objective.statistic
    bands = sorted({curves.band for curves in shown.values() if len(curves.seeds) > 1})
    notes = [f"Thin lines: one a seed. Thick line: their {statistic}." + (f" Band: {_and(bands)}." if bands else "")]
    planned = len(getattr(found.spec.seeds, phase))
    for trial, curves in shown.items():
        failed = [r.seed for r in found.runs.get(trial, ()) if r.phase == phase and r.state == "failed"]
        if failed:
            where = f"seed{'s' if len(failed) > 1 else ''} {_and([str(seed) for seed in failed])}"
            notes.append(f"Trial {trial} failed on {where}: it has no score, and where a curve ends, its average does.")
        elif len(curves.seeds) < planned:
            notes.append(f"Trial {trial} has curves of {len(curves.seeds)} of {planned} seeds so far.")
    return tuple(notes)


def _table(shown: Mapping[int, Curves], phase: Phase, metric: str) -> pd.DataFrame:
    rows = []
    for trial, curves in shown.items():
        band = zip(curves.middle, curves.low, curves.high, strict=True)
        found = dict(zip(curves.steps, band, strict=True))
        for step in sorted({step for values in curves.seeds.values() for step in values}):
            middle, low, high = found.get(step, (None, None, None))
            row: dict[str, Any] = {"trial": trial, "phase": phase, "environment steps": step}
            row |= {"average": middle, "low": low, "high": high}
            rows.append(row | {f"{metric}, seed {seed}": values.get(step) for seed, values in curves.seeds.items()})
    frame = pd.DataFrame(rows)
    return frame.astype({name: float for name in frame.columns if name not in ("trial", "phase", "environment steps")})
