"""The figures of the page on several objectives and constraints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autorl.analysis import aggregate, attainment
from autorl.report.findings import Findings
from autorl.report.front import Front, in_full, volumes
from autorl.report.words import number, probability
from autorl.trial import Phase
from board import figures
from board.tables import named

SURFACES = (0.25, 0.5, 0.75)


def picture(found: Findings, front: Front, x: int, y: int, phase: Phase) -> figures.Picture:
    """Draw the front over two objectives: its members' values, their seeds, and what shares of the seeds attain."""
    across, up = found.spec.objectives[x], found.spec.objectives[y]
    chosen = {member.trial.number for member in front.members[: front.on]}
    others = [trial for trial in found.trials if trial.values and trial.number not in chosen]
    figure = go.Figure()
    shown = figures.spread(pd.DataFrame({"trial": [t.number for t in others]}))["trial"]
    drawn = [found.trials[number] for number in shown]
    figure.add_scatter(
        x=[trial.values[x] for trial in drawn],
        y=[trial.values[y] for trial in drawn],
        mode="markers",
        name="other trials, tuning seeds",
        marker={"color": figures.tint(figures.NEUTRAL, 0.5), "size": 7},
        customdata=[trial.number for trial in drawn],
        hovertemplate="trial %{customdata}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
    )
    rows, sets = [], []
    for index, member in enumerate(front.members):
        number_, own = member.trial.number, in_full(found, member.trial.number, phase)
        if not own:
            continue
        scores = np.array(own)
        if number_ in chosen:
            sets.append(scores[:, [x, y]])
        colour = figures.COLOURS[index % len(figures.COLOURS)]
        symbol = figures.SYMBOLS[(index // len(figures.COLOURS)) % len(figures.SYMBOLS)]
        figure.add_scatter(
            x=scores[:, x],
            y=scores[:, y],
            mode="markers",
            marker={"color": figures.tint(colour, 0.45), "size": 6, "symbol": symbol},
            showlegend=False,
            hovertemplate=f"{named(found, number_)}, one seed<br>%{{x:.4g}}, %{{y:.4g}}<extra></extra>",
        )
        middle = [aggregate(scores[:, i], objective.statistic) for i, objective in ((x, across), (y, up))]
        figure.add_scatter(
            x=middle[:1],
            y=middle[1:],
            mode="markers+text",
            text=[str(number_)],
            textposition="top center",
            name=named(found, number_),
            marker={"color": colour, "size": 12, "symbol": symbol},
            customdata=[number_],
            hovertemplate=f"{named(found, number_)}<br>%{{x:.4g}}, %{{y:.4g}}<extra></extra>",
        )
        for seed, score in enumerate(scores):
            rows.append({"trial": number_, "seed": _seed(found, phase, seed), across.name: score[x], up.name: score[y]})
    _surfaces(figure, sets, (across.direction, up.direction))
    figures.lay_out(figure, f"{across.words}, {phase} seeds", f"{up.words}, {phase} seeds")
    count = front.on
    title = (
        f"{count} {'trials trade' if count > 1 else 'trial trades'} off {across.words} and {up.words}: nothing is "
        f"likely to beat {'them' if count > 1 else 'it'} in every objective."
    )
    listed = "; ".join(
        f"{named(found, m.trial.number)}: {number(m.tuning[x])}, {number(m.tuning[y])}" for m in front.members
    )
    notes = [
        "Large markers: over the seeds; small ones: one a seed.",
        "Lines: what a quarter, half and three quarters of the seeds attain with one of the front's trials."
        if sets and len(sets[0]) > 1
        else "Too few seeds to say what a share of them attains.",
    ]
    if len(found.spec.objectives) > 2:
        notes.append(f"Two of {len(found.spec.objectives)} objectives: a trial may be on the front for another.")
    return figures.Picture(title, f"{title} By the tuning seeds: {listed}.", figure, pd.DataFrame(rows), tuple(notes))


def hypervolume(found: Findings) -> figures.Picture | None:
    """Draw the hypervolume over the budget, and the range of the seeds by themselves; None before it is known."""
    course = volumes(found)
    if not course:
        return None
    steps = [volume.env_steps for volume in course]
    low, high = [min(v.by_seed) for v in course], [max(v.by_seed) for v in course]
    figure = go.Figure()
    figure.add_scatter(
        x=[*steps, *steps[::-1]],
        y=[*high, *low[::-1]],
        fill="toself",
        mode="lines",
        line={"width": 0, "shape": "hv"},
        fillcolor=figures.tint(figures.COLOURS[0], 0.2),
        name="single tuning seeds, from worst to best",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=steps,
        y=[volume.value for volume in course],
        mode="lines+markers",
        line={"color": figures.COLOURS[0], "shape": "hv", "width": 2},
        marker={"size": 5},
        name="objectives over the tuning seeds",
        customdata=[volume.trials for volume in course],
        hovertemplate="%{x:,} steps, %{customdata} trials: %{y:.4g}<extra></extra>",
    )
    figures.lay_out(figure, "environment steps of tuning", "hypervolume")
    first, last = course[0], course[-1]
    title = (
        f"Over {last.trials} trials the hypervolume went from {number(first.value)} to {number(last.value)}; "
        f"single seeds end between {number(low[-1])} and {number(high[-1])}."
    )
    table = pd.DataFrame(
        {"environment steps": steps, "trials": [v.trials for v in course], "hypervolume": [v.value for v in course]}
        | {f"seed {seed}": [v.by_seed[i] for v in course] for i, seed in enumerate(found.spec.seeds.tuning)}
    )
    notes = ("Of trials trained in full on every tuning seed. It flatters, since these seeds choose the front.",)
    return figures.Picture(title, title, figure, table, notes)


def constraint(found: Findings, index: int) -> figures.Picture | None:
    """Draw how likely each trial meets a constraint, against the first objective; None while no trial is judged."""
    bound = found.spec.constraints[index]
    judged = [trial for trial in found.trials if trial.verdict is not None and trial.value is not None]
    if not judged:
        return None
    rows = [
        {
            "trial": trial.number,
            bound.measured: trial.values[len(found.spec.objectives) + index],
            found.objective: trial.value,
            "probability": trial.verdict.feasible[index],
        }
        for trial in judged
        if trial.verdict is not None
    ]
    table = pd.DataFrame(rows)
    likely = table["probability"] >= bound.probability
    figure = go.Figure()
    for name, part, colour, symbol in (
        ("likely enough", table[likely], figures.COLOURS[2], "circle"),
        ("not likely enough", table[~likely], figures.COLOURS[1], "x"),
    ):
        drawn = figures.spread(part)
        figure.add_scatter(
            x=drawn[bound.measured],
            y=drawn[found.objective],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 9, "symbol": symbol},
            customdata=drawn[["trial", "probability"]],
            hovertemplate="trial %{customdata[0]}: %{x:.4g}, %{y:.4g}<br>"
            "meets it with probability %{customdata[1]:.2f}<extra></extra>",
        )
    figure.add_vline(bound.bound, line={"color": figures.NEUTRAL, "dash": "dash"})
    figures.lay_out(figure, f"mean {bound.measured}, tuning seeds", figures.objective_axis(found.spec, "tuning seeds"))
    seeds = len(found.spec.seeds.test)
    title = (
        f"{likely.sum()} of {len(table)} trials meet '{bound.words}' on {seeds} new seeds with a probability of "
        f"{probability(bound.probability)} or more."
    )
    notes = ("Dashed: the bound. The probability is from the seeds of all trials together.",)
    return figures.Picture(title, title, figure, table, notes)


def _surfaces(figure: go.Figure, sets: Sequence[np.ndarray], directions: Sequence[str]) -> None:
    """Draw what shares of the seeds attain; a seed's set is the members' scores with it."""
    seeds = min((len(scores) for scores in sets), default=0)
    if seeds < 2:
        return
    runs = [np.stack([scores[seed] for scores in sets]) for seed in range(seeds)]
    every = np.concatenate(runs)
    worst = [every[:, axis].min() if d == "maximize" else every[:, axis].max() for axis, d in enumerate(directions)]
    for share, dash in zip(SURFACES, figures.DASHES, strict=False):
        corners = attainment(runs, directions, [share])[share]  # type: ignore[arg-type]
        if len(corners):
            # A corner is attained, and all that is worse than it in both: the surface ends at the worst of each.
            (left, first), (right, last) = corners[0], corners[-1]
            rising = directions[0] == "maximize"
            ends = ((worst[0], first), (right, worst[1])) if rising else ((left, worst[1]), (worst[0], last))
            corners = np.array([ends[0], *corners, ends[1]])
            shape = "vh" if rising else "hv"
            figure.add_scatter(
                x=corners[:, 0],
                y=corners[:, 1],
                mode="lines",
                line={"color": figures.NEUTRAL, "dash": dash, "width": 1.5, "shape": shape},
                name=f"attained by {share:.0%} of the seeds",
                hoverinfo="skip",
            )


def _seed(found: Findings, phase: Phase, index: int) -> int:
    seeds: tuple[int, ...] = getattr(found.spec.seeds, phase)
    return sorted(seeds)[index]
