"""The figures: each a sentence that is true for its data, the plot, a text alternative and the data as a table.

Colours are those of Okabe and Ito (2008) that keep a contrast of 3 to 1 on white and on Streamlit's dark background.
Markers and dashes differ wherever colours do, so that no figure needs them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from autorl.analysis import Estimate, estimate
from autorl.report.findings import Findings
from autorl.report.words import number
from autorl.spec.study import StudySpec

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
NEUTRAL = "#808080"
MOST_POINTS = 2_000
UNITS = {"return": "return (sum of rewards an episode)", "length": "length (environment steps an episode)"}


@dataclass(frozen=True)
class Picture:
    """A figure with all that it is shown with.

    Attributes:
        title: a sentence, true for the data.
        alt: what the figure looks like, for those who do not see it.
        figure: the plot.
        table: its data.
        notes: what a reader should know besides.
    """

    title: str
    alt: str
    figure: go.Figure
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def axis(metric: str) -> str:
    """Name a metric with its unit."""
    return UNITS.get(metric, metric)


def objective_axis(spec: StudySpec, where: str) -> str:
    """Name the objective over some seeds, with the metric's unit."""
    objective = spec.objective
    if objective.over_run != "last":
        return f"{objective.words}, {where}"
    return f"{objective.over_seeds} {axis(objective.metric)}, {where}"


def tint(colour: str, opacity: float) -> str:
    """Return a colour, see-through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def lay_out(figure: go.Figure, x: str, y: str) -> go.Figure:
    """Give a figure its axis titles, and a legend below it, where it may wrap on narrow screens."""
    figure.update_layout(
        height=460,
        margin={"l": 0, "r": 12, "t": 62, "b": 0},
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "title_text": ""},
        hovermode="closest",
    )
    figure.update_xaxes(title_text=x, automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    # At the side a narrow screen would cut the y axis's title off; above the plot, and below Plotly's buttons, it fits.
    figure.add_annotation(
        text=y, xref="paper", yref="paper", x=0, y=1, yshift=24, xanchor="left", yanchor="top", showarrow=False
    )
    return figure


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table, or as many of its rows, evenly spread, as a browser draws without delay."""
    return table.iloc[:: -(-len(table) // MOST_POINTS) or 1]


def rows_high(figure: go.Figure, rows: int, each: int) -> None:
    """Make a figure of horizontal rows as high as they need, its legend below the axis title."""
    inside = max(rows * each, 90)
    figure.update_layout(height=inside + 190, legend_y=-80 / inside)


def ends(found: Estimate) -> tuple[float | None, float | None]:
    """Return an interval's ends, None where there are none."""
    return (None, None) if math.isnan(found.low) else (found.low, found.high)


def over_seeds(spec: StudySpec, scores: Sequence[float]) -> Estimate:
    """Estimate the objective from the scores of seeds, as the headline does."""
    return estimate(scores, spec.objective.statistic)


def incumbent(found: Findings) -> Picture | None:
    """Draw every trial's tuning score and who led, by trial number; None while no trial has a score."""
    if not found.lead:
        return None
    table = _leads(found)
    whole = table["trained in full"]
    figure = go.Figure()
    changes = table[table["leader"] != table["leader"].shift()]
    figure.add_scatter(
        # The last step is drawn to the newest trial.
        x=[*changes["trial"], found.trials[-1].number],
        y=[*changes["leader's score"], table["leader's score"].iloc[-1]],
        mode="lines",
        name="leader",
        line={"color": COLOURS[1], "width": 3, "shape": "hv"},
        hovertemplate="leader up to trial %{x}: %{y:.4g}<extra></extra>",
    )
    drawn = 0
    for name, part, symbol in (("trial", table[whole], "circle"), ("stopped early", table[~whole], "circle-open")):
        shown = spread(part)
        drawn += len(shown)
        if len(shown):
            figure.add_scatter(
                x=shown["trial"],
                y=shown["tuning score"],
                mode="markers",
                name=name,
                marker={"color": COLOURS[0], "size": 8, "symbol": symbol},
                hovertemplate="trial %{x}: %{y:.4g}<extra></extra>",
            )
    tested = changes.dropna(subset=["leader's test score"])
    if len(tested):
        figure.add_scatter(
            x=tested["trial"],
            y=tested["leader's test score"],
            mode="markers",
            name="leader on the test seeds",
            marker={"color": COLOURS[2], "size": 12, "symbol": "diamond"},
            hovertemplate="trial %{x} on the test seeds: %{y:.4g}<extra></extra>",
        )
    failed = pd.DataFrame({"trial": [trial.number for trial in found.trials if trial.state == "failed"]})
    broken = spread(failed)["trial"].tolist()
    if broken:
        figure.add_scatter(
            x=broken,
            y=[min(table["tuning score"])] * len(broken),
            mode="markers",
            name="failed, no score",
            marker={"color": NEUTRAL, "size": 10, "symbol": "x-thin", "line": {"width": 2, "color": NEUTRAL}},
            hovertemplate="trial %{x} failed<extra></extra>",
        )
    lay_out(figure, "trial", objective_axis(found.spec, "tuning seeds"))
    figure.update_xaxes(
        range=[-0.5, len(found.trials) - 0.5], tickformat="d", dtick=1 if len(found.trials) < 8 else None
    )
    title = _incumbent_title(found)
    least, most = number(min(table["tuning score"])), number(max(table["tuning score"]))
    alt = (
        f"{title} Points: the tuning score of each of {len(table)} trials, from {least} to {most}. Line: the leader's."
    )
    return Picture(title, alt, figure, table, _incumbent_notes(found, drawn < len(table), bool(broken)))


def _leads(found: Findings) -> pd.DataFrame:
    rows = [
        {
            "trial": trial.number,
            "tuning score": trial.value,
            "trained in full": trial.state == "completed",
            "leader": leader.number,
            "leader's score": leader.value,
            "leader's test score": found.value(leader.number, "test") if leader is trial else None,
        }
        for trial, leader in found.lead
    ]
    return pd.DataFrame(rows).astype({"leader's test score": float})


def _incumbent_notes(found: Findings, thinned: bool, broken: bool) -> tuple[str, ...]:
    notes = ["The best of many noisy scores is partly luck: only the test seeds say what a trial is worth."]
    if found.incumbent is not None and found.incumbent.posterior is not None:
        notes.append(
            "The leader has the highest expected score, by what is known now, which is not the highest score: scores "
            "on fewer seeds are shrunk."
        )
    elif any(trial.seeds != found.trials[0].seeds for trial, _ in found.lead):
        notes.append("The leader is the best of the trials that were trained furthest, on most seeds.")
    notes.append(f"To score earlier leaders on the test seeds: autorl test {found.study.name} --trial NUMBER.")
    if thinned:
        notes.append("Not all trials are drawn, but evenly many; the line and the table have all.")
    if broken:
        notes.append("Crosses at the lower edge are failed trials: they have no score, their height means nothing.")
    return tuple(notes)


def _incumbent_title(found: Findings) -> str:
    best = found.lead[-1][1]
    what = f"a {found.objective} of {number(best.value)} on the tuning seeds"
    if len(found.lead) == 1:
        return f"Trial {best.number} is the only one with a score so far: {what}."
    if best.number == 0:
        return f"The default configuration leads {len(found.lead)} trials with {what}."
    if found.trials[0].value is None:
        return f"Trial {best.number} leads {len(found.lead)} scored trials with {what}."
    start = number(found.trials[0].value)
    return (
        f"Over {len(found.lead)} trials the leading tuning score went from {start} (the default) to "
        f"{number(best.value)} (trial {best.number})."
    )
