"""The figures of the page on comparing studies."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from autorl.report.compare import Comparison
from autorl.report.words import interval, number
from board import figures
from board.tables import NONE

MOST_STUDIES = len(figures.COLOURS)


def table(found: Comparison) -> pd.DataFrame:
    """Return one row a study."""
    rows = []
    for side in found.sides:
        at = side.at_equal_budget
        rows.append(
            {
                "study": side.found.study.name,
                "optimizer": side.found.spec.optimizer.name,
                "tuning steps": f"{side.found.spent['tuning']['env_steps']:,.0f}",
                "tuning score at equal budget": NONE if at is None else f"{number(at.trial.value)} ({at.trial.number})",
                "winner": NONE if side.found.winner is None else str(side.found.winner.number),
                "test score": NONE if side.test is None else f"{number(side.test.value)}, {interval(side.test)}",
            }
        )
    return pd.DataFrame(rows)


def lead(found: Comparison) -> figures.Picture | None:
    """Draw the leading tuning score of each study over the environment steps spent; None while none has one."""
    figure, rows = go.Figure(), []
    for index, side in enumerate(found.sides):
        if not side.lead:
            continue
        name = side.found.study.name
        steps = [milestone.env_steps for milestone in side.lead]
        values = [milestone.trial.value for milestone in side.lead]
        end = int(side.found.spent["tuning"]["env_steps"])
        figure.add_scatter(
            x=[*steps, end],
            y=[*values, values[-1]],
            mode="lines+markers",
            name=name,
            line={"color": figures.COLOURS[index], "width": 3, "shape": "hv", "dash": figures.DASHES[index]},
            marker={"symbol": figures.SYMBOLS[index], "size": 8},
            hovertemplate=name + "<br>%{x:,} steps: %{y:.4g}<extra></extra>",
        )
        rows += [
            {"study": name, "environment steps": m.env_steps, "trial": m.trial.number, "tuning score": m.trial.value}
            for m in side.lead
        ]
    if not rows:
        return None
    figure.add_vline(x=found.budget, line={"color": figures.NEUTRAL, "dash": "dot", "width": 1})
    spec = found.sides[0].found.spec
    figures.lay_out(
        figure, "environment steps spent on tuning, seeds included", figures.objective_axis(spec, "tuning seeds")
    )
    figure.update_xaxes(rangemode="tozero", tickformat=",d")
    at = [
        f"{side.found.study.name} {number(side.at_equal_budget.trial.value)}"
        for side in found.sides
        if side.at_equal_budget is not None
    ]
    title = f"After {found.budget:,} environment steps of tuning the leading score is: {', '.join(at)}."
    if not at:
        title = "At equal budget none of the studies had a score yet."
    notes = (
        "Lines: the score, on its tuning seeds, of the trial that led at the time by what is known of it now. It is "
        "optimistic, more so with few seeds: only the test scores compare. Dotted: equal budget.",
    )
    return figures.Picture(title, f"{title} One stepped line a study.", figure, pd.DataFrame(rows), notes)


def tested(found: Comparison) -> figures.Picture | None:
    """Draw the winners' test scores with their intervals; None while none has one."""
    sides = [side for side in found.sides if side.test is not None]
    if not sides:
        return None
    figure, rows = go.Figure(), []
    for index, side in enumerate(sides):
        assert side.test is not None
        assert side.found.winner is not None
        low, high = figures.ends(side.test)
        name = side.found.study.name
        colour = figures.COLOURS[index]
        scores = side.found.scores(side.found.winner.number, "test")
        figure.add_scatter(
            x=[index - 0.1 + 0.3 * ((i + 0.5) / len(scores) - 0.5) for i in range(len(scores))],
            y=scores,
            mode="markers",
            marker={"color": figures.tint(colour, 0.6), "size": 8, "symbol": figures.SYMBOLS[index]},
            showlegend=False,
            hovertemplate=name + ": %{y:.4g}<extra></extra>",
        )
        figure.add_scatter(
            x=[index + 0.15],
            y=[side.test.value],
            mode="markers",
            marker={"color": colour, "size": 12, "symbol": "line-ew", "line": {"width": 3, "color": colour}},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [0.0 if high is None else high - side.test.value],
                "arrayminus": [0.0 if low is None else side.test.value - low],
                "color": colour,
            },
            showlegend=False,
            hovertemplate=f"{name}: %{{y:.4g}}, {interval(side.test)}<extra></extra>",
        )
        rows.append({"study": name, "test score": side.test.value, "low": low, "high": high})
    spec = sides[0].found.spec
    figures.lay_out(figure, "study", figures.objective_axis(spec, "test seeds"))
    names = [side.found.study.name for side in sides]
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4])
    told = ", ".join(f"{side.found.study.name} {number(side.test.value)}" for side in sides if side.test is not None)
    title = f"On test seeds the winners score: {told}."
    notes = ("Points: one a test seed. Beside them their mean or other statistic with its 95 % interval.",)
    return figures.Picture(title, f"{title} One group of points a study.", figure, pd.DataFrame(rows), notes)
