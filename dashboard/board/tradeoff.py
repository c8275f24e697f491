"""The figure of the page on what a score costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from autorl.ledger.records import RunRecord
from autorl.report.findings import Findings
from autorl.report.words import duration, number
from board import figures
from board.tables import named


@dataclass(frozen=True)
class Cost:
    """Something that a run costs.

    Attributes:
        name: what it is, with its unit.
        attribute: the run's attribute that holds it.
    """

    name: str
    attribute: str

    def of(self, run: RunRecord) -> float:
        """Return what a run cost."""
        return float(getattr(run, self.attribute))


COSTS: Mapping[str, Cost] = {
    "processor time": Cost("processor time (seconds a run)", "cpu_seconds"),
    "wall time": Cost("wall time (seconds a run)", "wall_seconds"),
}


def picture(found: Findings, cost: Cost) -> figures.Picture | None:
    """Draw the tuning score of every trial trained in full against its cost, with the front; None if there is none."""
    higher = found.spec.objective.direction == "maximize"
    rows = []
    for trial in found.trials:
        runs = [run for run in found.runs.get(trial.number, ()) if run.phase == "tuning" and run.state == "completed"]
        if trial.value is None or not runs or trial.env_steps < found.spec.budget.steps_per_run:
            continue
        spent = sum(map(cost.of, runs)) / len(runs)
        rows.append({"trial": trial.number, "cost": spent, "tuning score": trial.value, "seeds": trial.seeds})
    if not rows:
        return None
    table = pd.DataFrame(rows).sort_values(["cost", "tuning score"], ascending=[True, not higher], ignore_index=True)
    best = table["tuning score"].cummax() if higher else table["tuning score"].cummin()
    table["on the front"] = (best != best.shift()).to_numpy()
    front, rest = table[table["on the front"]], table[~table["on the front"]]
    shown = figures.spread(rest)
    figure = go.Figure()
    figure.add_scatter(
        x=shown["cost"],
        y=shown["tuning score"],
        mode="markers",
        name="beaten in both by another trial",
        marker={"color": figures.tint(figures.COLOURS[0], 0.5), "size": 8},
        customdata=shown["trial"],
        hovertemplate="trial %{customdata}<br>%{x:.4g} s: %{y:.4g}<extra></extra>",
    )
    figure.add_scatter(
        x=front["cost"],
        y=front["tuning score"],
        mode="lines+markers",
        name="not beaten in both",
        line={"color": figures.COLOURS[1], "shape": "hv", "width": 2},
        marker={"color": figures.COLOURS[1], "size": 11, "symbol": "diamond"},
        customdata=front["trial"],
        hovertemplate="trial %{customdata}<br>%{x:.4g} s: %{y:.4g}<extra></extra>",
    )
    figures.lay_out(figure, cost.name, figures.objective_axis(found.spec, "tuning seeds"))
    figure.update_xaxes(rangemode="tozero")
    cheapest, top = front.iloc[0], front.iloc[-1]
    title = (
        f"{len(front)} of {len(table)} trials are beaten by no other in both score and cost: from "
        f"{named(found, int(cheapest['trial']))} with {number(float(cheapest['tuning score']))} at "
        f"{duration(float(cheapest['cost']))} a run to {named(found, int(top['trial']))} with "
        f"{number(float(top['tuning score']))} at {duration(float(top['cost']))}."
    )
    if len(front) == 1:
        title = (
            f"{named(found, int(top['trial'])).capitalize()} is both the best and the cheapest of {len(table)} trials: "
            f"{number(float(top['tuning score']))} at {duration(float(top['cost']))} a run."
        )
    notes = (
        "Scores on the tuning seeds flatter the best of them, and so the front. Time depends on what else the machine "
        "did.",
        *(
            [f"Of the other trials {len(shown):,} are drawn, evenly spread; the table has all."]
            if len(shown) < len(rest)
            else []
        ),
    )
    listed = "; ".join(
        f"trial {int(row['trial'])}: {number(row['cost'])} s, {number(row['tuning score'])}"
        for row in front.to_dict("records")
    )
    return figures.Picture(title, f"{title} Front: {listed}.", figure, table, notes)
