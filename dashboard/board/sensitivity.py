"""The figures of the page on sensitivity: what matters, what it does, and what the winner would lose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autorl.analysis import estimate
from autorl.ledger.records import TrialRecord
from autorl.report.findings import Findings
from autorl.report.influence import Influence
from autorl.report.sentences import influences, said_of
from autorl.report.words import number, setting
from board import figures
from board.tables import named

FEW_TRIALS = 5
"""Trials for each hyperparameter below which importances are called rough."""
ICE = 24
"""Curves of single configurations that are drawn at most: more hide each other."""


def model_note(seen: Influence) -> str:
    """Say what the figures were computed from."""
    note = (
        f"From a random forest on {len(seen.trials)} trials' scores after {seen.until:,} environment steps, which "
        f"explains {max(0.0, seen.forest.explained):.0%} of the variance of scores that it has not seen. Where it "
        "explains little, all of this means little."
    )
    if seen.adjusted:
        note += " Trials were trained on different seeds: their means are adjusted for which."
    return note


def importance(found: Findings, seen: Influence) -> figures.Picture:
    """Draw the importance of each hyperparameter by both methods, with its interval over seeds."""
    rows = []
    for index in seen.ranked:
        over = seen.over_seeds(index)
        row: dict[str, Any] = {"hyperparameter": seen.names[index], "fANOVA": seen.fanova[index]}
        row |= {"PED-ANOVA": seen.ped_anova[index]}
        if over is not None:  # a share: its interval cannot leave [0, 1]
            row |= {"mean of seeds' fANOVA": over.value, "low": max(0.0, over.low), "high": min(1.0, over.high)}
        rows.append(row)
    table = pd.DataFrame(rows)
    upward = table.iloc[::-1]
    figure = go.Figure()
    figure.add_bar(
        y=upward["hyperparameter"],
        x=upward["PED-ANOVA"],
        orientation="h",
        name=f"PED-ANOVA: being among the best {seen.best_share:.0%}",
        marker={"color": figures.COLOURS[1], "pattern": {"shape": "/"}},
        hovertemplate="%{y}: %{x:.2f}<extra>PED-ANOVA</extra>",
    )
    figure.add_bar(
        y=upward["hyperparameter"],
        x=upward["fANOVA"],
        orientation="h",
        name="fANOVA: share of the variance over the space",
        marker={"color": figures.COLOURS[0]},
        hovertemplate="%{y}: %{x:.2f}<extra>fANOVA</extra>",
    )
    if "low" in table:
        mean = upward["mean of seeds' fANOVA"]
        figure.add_scatter(
            y=upward["hyperparameter"],
            x=mean,
            mode="markers",
            name="fANOVA of single seeds, mean with its 95 % interval",
            marker={"color": figures.COLOURS[2], "size": 10, "symbol": "diamond"},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (upward["high"] - mean).fillna(0.0).tolist(),
                "arrayminus": (mean - upward["low"]).fillna(0.0).tolist(),
                "color": figures.NEUTRAL,
            },
            hovertemplate="%{y}: %{x:.2f}<extra>mean of seeds</extra>",
        )
    figures.lay_out(figure, "importance (share, 0 to 1)", "hyperparameter")
    figure.update_layout(barmode="group", legend_traceorder="reversed")
    figures.rows_high(figure, len(rows), 46)
    figure.update_xaxes(rangemode="nonnegative")
    said = influences(seen)
    notes = [model_note(seen), *said[1:]]
    if len(seen.trials) < FEW_TRIALS * len(seen.names):
        notes.append(f"{len(seen.trials)} trials are few for {len(seen.names)} hyperparameters: all of this is rough.")
    notes.append(
        "fANOVA asks what moves the score anywhere in the space, PED-ANOVA what decides whether a configuration is "
        "among the best of those tried: they may disagree. A conditional hyperparameter counts where it is active."
    )
    if len(seen.by_seed) > 1:
        notes.append(
            f"Diamonds: a model for each of the {len(seen.by_seed)} seeds' scores by itself, mean and 95 % interval. A "
            "single seed's scores are noisier than their mean over seeds, so its shares need not be those of the bars."
        )
    listed = "; ".join(f"{r['hyperparameter']}: fANOVA {r['fANOVA']:.2f}, PED-ANOVA {r['PED-ANOVA']:.2f}" for r in rows)
    title = said_of(seen.objective, said[0]) if len(found.spec.objectives) > 1 else said[0]
    return figures.Picture(title, f"{title} Bars, the most important first. {listed}.", figure, table, tuple(notes))


def effect(seen: Influence, index: int) -> figures.Picture:
    """Draw the partial dependence of the score on one hyperparameter, with single configurations and a band."""
    name, along = seen.names[index], seen.effect(index)
    values = [seen.value_at(index, place) for place in along.at]
    seeds = np.array(seen.effects_by_seed(index)).reshape(-1, len(along.at))
    bands = [estimate(column) for column in seeds.T] if len(seeds) > 1 else []
    table = pd.DataFrame({name: [setting(v) for v in values], "mean": along.mean})
    figure = go.Figure()
    choice = bool(seen.forest.domain.axes[index].choices)
    for row in along.individual[:: max(1, len(along.individual) // ICE)]:
        figure.add_scatter(
            x=along.at,
            y=row,
            mode="lines",
            line={"color": figures.tint(figures.NEUTRAL, 0.35), "width": 1},
            showlegend=False,
            hoverinfo="skip",
        )
    if bands:
        low, high = [band.low for band in bands], [band.high for band in bands]
        table["low"], table["high"] = low, high
        figure.add_scatter(
            x=[*along.at, *along.at[::-1]],
            y=[*high, *low[::-1]],
            mode="lines",
            fill="toself",
            fillcolor=figures.tint(figures.COLOURS[0], 0.2),
            line={"width": 0},
            name=f"95 % interval over {len(seeds)} seeds",
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=along.at,
        y=along.mean,
        mode="markers+lines" if not choice else "markers",
        name="mean over the space (partial dependence)",
        marker={"color": figures.COLOURS[0], "size": 11 if choice else 6},
        line={"color": figures.COLOURS[0], "width": 3},
        customdata=table[name],
        hovertemplate=name + " %{customdata}: %{y:.4g}<extra></extra>",
    )
    figures.lay_out(figure, name, f"predicted {figures.axis(seen.objective.measured)}, tuning seeds")
    shown = range(len(values)) if choice else range(0, len(values), 3)
    figure.update_xaxes(tickvals=[along.at[i] for i in shown], ticktext=[setting(values[i]) for i in shown])
    title = _effect_title(seen, index)
    where = "" if along.active == 1.0 else f" It is active in {along.active:.0%} of the space, and this is about there."
    notes = (
        "Thick line: the model's mean over configurations spread over the space. Thin grey lines: single ones; where "
        f"they are not parallel, the effect depends on other hyperparameters.{where}",
        "The band is where the means of models of single seeds lie: it says how far seeds agree, not how good the "
        "model is."
        if bands
        else "Without a second seed with enough trials there is no band.",
    )
    alt = f"{title} Curve over {name} from {setting(values[0])} to {setting(values[-1])}."
    return figures.Picture(title, alt, figure, table, notes)


def _effect_title(seen: Influence, index: int) -> str:
    along, name = seen.effect(index), seen.names[index]
    higher = seen.higher_is_better
    best = int(np.argmax(along.mean) if higher else np.argmin(along.mean))
    worst = int(np.argmin(along.mean) if higher else np.argmax(along.mean))
    if np.ptp(along.mean) == 0:
        return f"{name} makes no difference on average."
    return (
        f"On average {name} is best near {setting(seen.value_at(index, along.at[best]))} (predicted "
        f"{number(float(along.mean[best]))}) and worst near {setting(seen.value_at(index, along.at[worst]))} "
        f"({number(float(along.mean[worst]))})."
    )


def interactions(seen: Influence) -> figures.Picture | None:
    """Draw what pairs of hyperparameters explain beyond each alone; None with a single hyperparameter."""
    pairs = sorted(seen.interactions.items(), key=lambda item: -item[1])
    if not pairs:
        return None
    names = [f"{seen.names[a]} × {seen.names[b]}" for (a, b), _ in pairs]
    shares = [share for _, share in pairs]
    table = pd.DataFrame({"pair": names, "share of the variance": shares})
    figure = go.Figure()
    figure.add_bar(
        y=names[::-1], x=shares[::-1], orientation="h", marker={"color": figures.COLOURS[2]}, showlegend=False
    )
    figures.lay_out(figure, "share of the variance (0 to 1)", "pair of hyperparameters")
    figures.rows_high(figure, len(names), 26)
    figure.update_xaxes(range=[0.0, max(0.05, 1.05 * shares[0])])  # so that next to nothing looks like it
    alone = f"single hyperparameters explain {min(1.0, float(seen.fanova.sum())):.0%} together"
    title = f"Of the pairs, {names[0]} explains most beyond each alone: {shares[0]:.0%} of the variance; {alone}."
    if shares[0] < 0.01:
        title = f"No pair of hyperparameters explains 1% of the variance beyond each alone; {alone}."
    listed = "; ".join(f"{name}: {share:.3f}" for name, share in zip(names, shares, strict=True))
    notes = ("Pairs of the five most important hyperparameters.",)
    return figures.Picture(title, f"{title} Bars, the largest first. {listed}.", figure, table, notes)


def path(found: Findings, seen: Influence, best: TrialRecord) -> figures.Picture | None:
    """Draw the way from the default to the best configuration, one change at a time; None if they are the same."""
    start = found.trials[0]
    begun, steps = seen.path(start, best)
    if not steps:
        return None
    rows: list[dict[str, Any]] = [{"change": "default", "to": "", "predicted score": begun}]
    for step in steps:
        name = seen.names[step.index]
        to = setting(best.config.values[name]) if name in best.config.values else "not set"
        rows.append({"change": name, "to": to, "predicted score": step.score})
    table = pd.DataFrame(rows)
    labels = [f"{row['change']} → {row['to']}" if row["to"] else str(row["change"]) for row in rows]
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(len(rows))),
        y=table["predicted score"],
        mode="lines+markers",
        line={"color": figures.COLOURS[0], "width": 3, "shape": "hv"},
        marker={"size": 9},
        showlegend=False,
        customdata=labels,
        hovertemplate="%{customdata}: %{y:.4g}<extra></extra>",
    )
    figures.lay_out(figure, "changes, the best first", f"predicted {figures.axis(seen.objective.measured)}")
    figure.update_xaxes(tickvals=list(range(len(rows))), ticktext=labels, tickangle=30)
    gains = np.diff([begun, *(step.score for step in steps)]) * (1 if seen.higher_is_better else -1)
    top = int(np.argmax(gains))
    total = float(gains.sum())
    what = f"From the default to {named(found, best.number)} the model predicts {number(abs(total))}"
    way = "better" if total >= 0 else "worse"
    title = f"{what} {way}; the largest part, {number(float(gains[top]))}, is {labels[top + 1]}."
    listed = "; ".join(f"{label}: {number(row['predicted score'])}" for label, row in zip(labels, rows, strict=True))
    notes = ["Ablation path: at each step the change is made that helps most. Predicted, not trained."]
    apart = [
        f"{name} ({setting(start.config.values[name])})"
        for name, begun, ended in zip(seen.names, seen.point(start), seen.point(best), strict=True)
        if np.isnan(begun) and not np.isnan(ended) and name in start.config.values
    ]
    if apart:
        notes.append(
            f"The default's {', '.join(apart)} is no value of the search space: the model knows it from "
            "the default alone, and its change is part of the first step."
        )
    if not start.config.inside:
        notes.append("Values of the default that lie outside the search space are taken at the end of their range.")
    return figures.Picture(title, f"{title} Steps: {listed}.", figure, table, tuple(notes))


def around(found: Findings, seen: Influence, best: TrialRecord) -> figures.Picture | None:
    """Draw what the best configuration would lose if one hyperparameter moved a little; None if none of it is known."""
    local, changes = seen.around(best)
    sign = 1 if seen.higher_is_better else -1
    rows: list[dict[str, Any]] = [
        {
            "hyperparameter": seen.names[index],
            "value": setting(best.config.values[seen.names[index]]),
            "worst change nearby": float(np.min(sign * moved)) * sign,
            "best change nearby": float(np.max(sign * moved)) * sign,
            "local importance": float(local[index]),
        }
        for index, moved in enumerate(changes)
        if moved.size
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows).sort_values("local importance", ascending=False, ignore_index=True)
    upward = table.iloc[::-1]
    figure = go.Figure()
    for row in rows:
        figure.add_scatter(
            x=[row["worst change nearby"], row["best change nearby"]],
            y=[row["hyperparameter"]] * 2,
            mode="lines",
            line={"color": figures.NEUTRAL, "width": 2},
            showlegend=False,
            hoverinfo="skip",
        )
    for place, (column, label) in enumerate(
        (("best change nearby", "best move"), ("worst change nearby", "worst move"))
    ):
        figure.add_scatter(
            y=upward["hyperparameter"],
            x=upward[column],
            mode="markers",
            name=label,
            marker={"color": figures.COLOURS[place], "size": 13, "symbol": figures.SYMBOLS[place]},
            hovertemplate="%{y}: %{x:.4g}<extra>" + label + "</extra>",
        )
    figure.add_vline(x=0, line={"color": figures.NEUTRAL, "dash": "dot", "width": 1})
    change = f"predicted change of the {figures.axis(seen.objective.measured)}"
    figures.lay_out(figure, change, "hyperparameter, the locally most important first")
    figures.rows_high(figure, len(rows), 36)
    figure.update_yaxes(categoryorder="array", categoryarray=list(upward["hyperparameter"]))
    worst = min(rows, key=lambda row: sign * row["worst change nearby"])
    title = (
        f"Next to {named(found, best.number)} the score is most at risk from {worst['hyperparameter']}: a small move "
        f"is predicted to change it by {number(worst['worst change nearby'])}."
    )
    notes = (
        "A small move: a tenth of a number's range up or down (at least one step), or any other value of a choice. A "
        "best move above zero is where the model would look next; it is a prediction, not a result.",
    )
    listed = "; ".join(f"{r['hyperparameter']}: {number(r['worst change nearby'])}" for r in table.to_dict("records"))
    return figures.Picture(title, f"{title} Bars: {listed}.", figure, table, notes)
