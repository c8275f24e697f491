"""The figures of the page on curricula: which tasks were trained when, how much, how well, and what that gave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autorl.analysis.lessons import Trained
from autorl.ledger.records import CurveRecord, TrialRecord
from autorl.report.curricula import half, part_words, parts_of_target, stood, target_words, where_trained
from autorl.report.findings import Findings
from autorl.report.words import number
from autorl.trial import Phase
from board import curves, figures
from board.tables import named, role

MOST_WRITTEN = 12
"""Evaluations up to which each cell of a map has its number written in it."""
BASELINES = ("none", "uniform")
GIVES_AWAY = ("item_response", "guidance")


@dataclass(frozen=True)
class Along:
    """One parameter of a trial's task, and what runs trained of it.

    Attributes:
        trial: the trial.
        label: its name, role and kind of curriculum.
        name: of the parameter.
        found: what was trained.
    """

    trial: TrialRecord
    label: str
    name: str
    found: Trained

    @property
    def parts(self) -> int:
        """Into how many parts the parameter's axis is divided."""
        return int(self.found.env_steps.shape[1])

    def words(self, first: int, last: int) -> str:
        """Name the values in adjacent parts."""
        assert self.trial.recipe.task_space is not None
        return part_words(self.trial.recipe.task_space["parameters"][self.name], first, last, self.parts)

    @property
    def target(self) -> Any:
        """What evaluation uses."""
        assert self.trial.recipe.task_space is not None
        return self.trial.recipe.task_space["target"][self.name]

    @property
    def aimed(self) -> list[int]:
        """The parts that the target is in."""
        assert self.trial.recipe.task_space is not None
        return parts_of_target(self.trial.recipe.task_space["parameters"][self.name], self.target, self.parts)


def kind_of(trial: TrialRecord) -> str:
    """Return the kind of a trial's curriculum."""
    assert trial.recipe.curriculum is not None
    return str(trial.recipe.curriculum["kind"])


def labelled(found: Findings, number_: int) -> str:
    """Name a trial with its role and its kind of curriculum: `trial 17 (winner, linear)`."""
    what = [role(found, number_), kind_of(found.trials[number_])]
    return f"trial {number_} ({', '.join(filter(None, what))})"


def when(seen: Along) -> figures.Picture | None:
    """Draw which share of the training between evaluations was of which tasks; None if none was trained."""
    steps = seen.found.env_steps
    busy = np.flatnonzero(steps.sum(axis=1))
    if not len(busy):
        return None
    shares = steps / np.maximum(steps.sum(axis=1, keepdims=True), 1)
    drawn = np.where(steps > 0, shares, np.nan)
    figure = _map(seen, drawn, ".0%", "share of the training since the evaluation before", (0.0, float(shares.max())))
    first, last = (seen.words(*half(steps[at])) for at in (busy[0], busy[-1]))
    way = f"trained mostly {seen.name} {first} at first and {last} at the end"
    if first == last:
        way = f"trained mostly {seen.name} {first}, at first and at the end"
    title = f"{seen.label.capitalize()} {way}; the target is {target_words(seen.target)}."
    notes = (
        "Each column is the training between two evaluations and adds up to 100 %, by environment steps of the "
        "episodes that ended in it; an empty cell was not trained.",
        _outline(seen),
    )
    alt = f"{title} A map over environment steps and {seen.name}; the lighter, the more was trained."
    return figures.Picture(title, alt, figure, _table(seen, {"environment steps": steps, "share": shares}), notes)


def density(seen: Along) -> figures.Picture | None:
    """Draw the share of all training that each part of the parameter's axis had; None if none was trained."""
    steps = seen.found.env_steps.sum(axis=0)
    if not steps.sum():
        return None
    shares, names = steps / steps.sum(), [seen.words(k, k) for k in range(seen.parts)]
    aimed = [k in seen.aimed for k in range(seen.parts)]
    figure = go.Figure()
    for is_target, name, colour, shape in (
        (False, "other tasks", figures.COLOURS[0], ""),
        (True, "where the target is", figures.COLOURS[1], "/"),
    ):
        own = [k for k in range(seen.parts) if aimed[k] == is_target]
        figure.add_bar(
            x=own,
            y=shares[own],
            name=name,
            marker={"color": colour, "pattern": {"shape": shape}},
            customdata=[names[k] for k in own],
            hovertemplate=seen.name + " %{customdata}: %{y:.1%} of training<extra></extra>",
        )
    figure.add_hline(y=1 / seen.parts, line={"color": figures.NEUTRAL, "dash": "dot", "width": 1.5})
    figures.lay_out(figure, seen.name, "share of the training (environment steps)")
    figure.update_xaxes(tickvals=list(range(seen.parts)), ticktext=names)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    title = where_trained(seen.trial, seen.name, seen.found)
    table = pd.DataFrame(
        {seen.name: names, "environment steps": steps, "share of training": shares, "of the target": aimed}
    )
    listed = "; ".join(f"{name}: {share:.0%}" for name, share in zip(names, shares, strict=True))
    notes = (f"Dotted: {1 / seen.parts:.0%} each, as of tasks drawn evenly whose episodes are equally long.",)
    return figures.Picture(title, f"{title} Bars. {listed}.", figure, table, notes)


def success(seen: Along) -> figures.Picture | None:
    """Draw how well each task went when it was trained; None if no episode has ended.

    It is the share of successes, or the mean return where nobody says what a success is.
    """
    found, known = seen.found, bool(np.isfinite(seen.found.success).any())
    values, what = (found.success, "success rate") if known else (found.returns, "mean return")
    busy = np.flatnonzero(np.isfinite(values).any(axis=1))
    if not len(busy):
        return None
    show = (lambda value: f"{value:.0%}") if known else number
    figure = _map(
        seen, values, ".0%" if known else ".3g", f"{what} of training episodes", (0.0, 1.0) if known else None
    )
    title = _success_title(seen, values[busy[-1]], int(busy[-1]), what, show)
    notes = [
        "Of the episodes that ended between two evaluations; an empty cell had none. The policy explores in training, "
        "so that it may do better when it is evaluated.",
        _outline(seen),
    ]
    if kind_of(seen.trial) in GIVES_AWAY:
        notes.append("Beginnings of solutions that this curriculum gives away count as what they led to.")
    if not known:
        notes.append("What a success is nobody says: task.success_return would.")
    columns = {"episodes": found.episodes, "success rate": found.success, "mean return": found.returns}
    alt = f"{title} A map over environment steps and {seen.name}; the lighter, the higher the {what}."
    return figures.Picture(title, alt, figure, _table(seen, columns), tuple(notes))


def _success_title(seen: Along, last: npt.NDArray[np.float64], at: int, what: str, show: Any) -> str:
    """Say where training went best and worst before the last evaluation."""
    tried = np.flatnonzero(np.isfinite(last))
    best, worst = (tried[f(last[tried])] for f in (np.argmax, np.argmin))
    steps = f"Up to {seen.found.until[at]:,} environment steps"
    if at:
        steps = f"Between {seen.found.until[at - 1]:,} and {seen.found.until[at]:,} environment steps"
    if last[best] == last[worst]:
        where = seen.words(int(tried[0]), int(tried[0])) if len(tried) == 1 else "all that it trained"
        return f"{steps} the {what} of {seen.label} is {show(last[best])} on {seen.name} {where}."
    high, low = (seen.words(int(k), int(k)) for k in (best, worst))
    return (
        f"{steps} the {what} of {seen.label} is highest on {seen.name} {high} ({show(last[best])}) and lowest on {low} "
        f"({show(last[worst])})."
    )


def teachers(records: Sequence[CurveRecord]) -> pd.DataFrame | None:
    """Return where the teacher of each run stood at its evaluations, a row each; None if it says nothing of that."""
    rows = [
        {"seed": seed, "environment steps": steps} | {name: _numbers(value) for name, value in said.items()}
        for seed, steps, said in stood(records)
    ]
    return pd.DataFrame(rows) if rows else None


def _numbers(value: Any) -> str:
    """Write numbers, or lists of them, as a reader takes them."""
    return f"[{', '.join(map(_numbers, value))}]" if isinstance(value, list) else f"{value:.3g}"


def beside(found: Findings, chosen: int) -> list[int]:
    """Return a trial and those it is compared with: the best by tuning data without a curriculum and of uniform."""
    own = kind_of(found.trials[chosen])
    best = [
        next((trial.number for trial in found.ranked if kind_of(trial) == kind), None)
        for kind in BASELINES
        if kind != own
    ]
    return [chosen, *(trial for trial in best if trial is not None)]


def target(
    found: Findings, trials: Sequence[int], phase: Phase, records: Sequence[CurveRecord]
) -> figures.Picture | None:
    """Draw how well trials did on the target, the first of them first; None without a curve.

    Args:
        found: the study.
        trials: as `beside` returned them.
        phase: whose seeds.
        records: their curves in that phase.
    """
    shown = curves.picture(found, trials, phase, found.spec.curve_metric, records)
    if shown is None:
        return None
    space = found.trials[trials[0]].recipe.task_space
    assert space is not None
    aim = ", ".join(f"{name} {target_words(value)}" for name, value in space["target"].items())
    title = f"On the target ({aim}), {shown.title[0].lower()}{shown.title[1:]}"
    kinds = "; ".join(f"{named(found, trial)}: {kind_of(found.trials[trial])}" for trial in trials)
    notes = (
        f"Evaluations are of the target alone, whatever is trained. Curricula: {kinds}.",
        "Beside the chosen trial: the best by tuning data without a curriculum and of even training.",
        *shown.notes,
    )
    return replace(shown, title=title, alt=f"{title} {shown.alt.removeprefix(shown.title).strip()}", notes=notes)


def _map(
    seen: Along,
    values: npt.NDArray[np.float64],
    form: str,
    what: str,
    ends: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw values (shape: evaluations, parts) as a map, with a frame around the parts that the target is in."""
    edges, names = [0, *seen.found.until], [seen.words(k, k) for k in range(seen.parts)]
    figure = go.Figure()
    figure.add_heatmap(
        x=edges,
        y=list(range(seen.parts)),
        z=[[None if math.isnan(v) else v for v in row] for row in values.T.tolist()],
        customdata=[[name] * len(values) for name in names],
        texttemplate=f"%{{z:{form}}}" if len(values) <= MOST_WRITTEN else None,
        colorscale="Cividis",
        zmin=ends[0] if ends else None,
        zmax=ends[1] if ends else None,
        xgap=1,
        ygap=1,
        colorbar={"orientation": "h", "y": -0.22, "yanchor": "top", "thickness": 10, "tickformat": form},
        hovertemplate=f"{seen.name} %{{customdata}}, around %{{x:,}} steps: %{{z:{form}}}<extra></extra>",
    )
    for part in seen.aimed:
        figure.add_shape(
            type="rect",
            x0=0,
            x1=1,
            xref="paper",
            y0=part - 0.5,
            y1=part + 0.5,
            line={"color": figures.COLOURS[1], "width": 2, "dash": "dash"},
        )
    figures.lay_out(figure, "environment steps", f"{seen.name}; colour: {what}")
    figures.rows_high(figure, seen.parts, 34)
    figure.update_xaxes(range=[0, edges[-1]], tickformat=",d", showgrid=False)
    figure.update_yaxes(tickvals=list(range(seen.parts)), ticktext=names, showgrid=False)
    return figure


def _outline(seen: Along) -> str:
    return f"Dashed frame: where the target, {target_words(seen.target)}, is or is nearest to."


def _table(seen: Along, columns: dict[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """Return one row a part and evaluation."""
    found = seen.found
    rows: list[dict[str, Any]] = []
    for at, until in enumerate(found.until):
        for part in range(seen.parts):
            row: dict[str, Any] = {"from step": found.until[at - 1] if at else 0, "to step": until}
            row[seen.name] = seen.words(part, part)
            rows.append(row | {name: values[at, part].item() for name, values in columns.items()})
    return pd.DataFrame(rows)
