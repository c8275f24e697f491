"""The figures of the page on seeds that tuning data alone gives: do the seeds agree, and where do scores come from?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from autorl.analysis import cvar, estimate, performance_profile
from autorl.report.evidence import Evidence
from autorl.report.findings import Findings
from autorl.report.words import interval, number, probability
from board import figures
from board.tables import NONE, named

MOST_RANKED = 10


def facts(found: Findings, seen: Evidence) -> list[tuple[str, str, str]]:
    """Return what the tuning seeds say as (what, value, explanation); empty where they cannot say anything."""
    if seen.split is None:
        return []
    seeds, shares = len(found.spec.seeds.tuning), seen.split.consistency
    needed = "no number" if seen.needed is None else f"{seen.needed:,}"
    told = [
        (
            "winner's curse",
            NONE if seen.curse is None else number(max(0.0, seen.curse), 3),
            f"{len(seen.trials)} trials are too few" if seen.curse is None else "expected of the best",
        ),
        ("consistency of a seed", NONE, "all scores are equal")
        if math.isnan(shares.value)
        else ("consistency of a seed", probability(shares.value), interval(shares, probability)),
    ]
    if found.spec.objective.over_seeds == "mean":
        told.append(("seeds needed for the best two", needed, f"the study has {seeds}"))
    return told


def ranks(found: Findings, seen: Evidence) -> figures.Picture | None:
    """Draw the ranks of the best trials on each tuning seed; None with fewer than two trials or seeds."""
    if min(seen.scores.shape) < 2:
        return None
    higher = found.spec.objective.direction == "maximize"
    order = stats.rankdata(-seen.scores if higher else seen.scores, axis=0)
    values = {trial: found.value(trial, "tuning") for trial in seen.trials}
    best = sorted(range(len(seen.trials)), key=lambda i: _worth(values[seen.trials[i]], higher))[:MOST_RANKED]
    names = [named(found, seen.trials[i]) for i in best]
    rows = [
        {"trial": name, "seed": seed, "rank": float(order[i, column]), "score": float(seen.scores[i, column])}
        for name, i in zip(names, best, strict=True)
        for column, seed in enumerate(found.spec.seeds.tuning)
    ]
    table = pd.DataFrame(rows)
    figure = go.Figure()
    for name, i in zip(names, best, strict=True):
        figure.add_scatter(
            x=[order[i].min(), order[i].max()],
            y=[name, name],
            mode="lines",
            line={"color": figures.NEUTRAL, "width": 1.5},
            showlegend=False,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=table["rank"],
        y=table["trial"],
        mode="markers",
        marker={"color": figures.tint(figures.COLOURS[0], 0.6), "size": 11},
        customdata=table[["seed", "score"]],
        name="one seed",
        hovertemplate="%{y}, seed %{customdata[0]}: rank %{x:.4g}, score %{customdata[1]:.4g}<extra></extra>",
    )
    figures.lay_out(figure, f"rank among {len(seen.trials)} trials, 1 is the best", "trial, the best by tuning first")
    figures.rows_high(figure, len(names), 30)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    figure.update_xaxes(tickformat="d", dtick=1 if order.max() < 12 else None)
    first = order[best[0]]
    times = int(np.sum(first == order.min(axis=0)))
    seeds = len(first)
    title = (
        f"{names[0].capitalize()}, the best on the tuning seeds together, is the best on {times} of {seeds} of them by "
        f"itself; its ranks go from {number(float(first.min()))} to {number(float(first.max()))}."
    )
    notes = []
    if seen.rank_between_seeds is not None:
        notes.append(
            f"Two seeds' rankings of all {len(seen.trials)} trials have a rank correlation of "
            f"{probability(seen.rank_between_seeds)} on average: 1 is the same order, 0 none."
        )
    notes += [
        f"Tuning and {phase} rankings have a rank correlation of {probability(between.value)} "
        f"({interval(between, probability)}) over the trials with both."
        for phase, between in seen.rank_between_phases.items()
        if np.isfinite(between.value)
    ]
    return figures.Picture(
        title, f"{title} One point a seed for each of {len(names)} trials.", figure, table, tuple(notes)
    )


def _worth(value: float | None, higher: bool) -> float:
    assert value is not None
    return -value if higher else value


def variance(seen: Evidence) -> figures.Picture | None:
    """Draw the split of the variance between runs; None where it is not known."""
    split = seen.split
    if split is None:
        return None
    parts = {
        "configuration": split.configuration,
        "seed, for all configurations alike": split.seed,
        "seed, for one configuration and not another, and noise": split.interaction,
    }
    total = sum(parts.values())
    if total == 0.0:
        return None
    shares = {name: value / total for name, value in parts.items()}
    table = pd.DataFrame({"part": list(parts), "variance": list(parts.values()), "share": list(shares.values())})
    figure = go.Figure()
    for place, (name, share) in enumerate(shares.items()):
        figure.add_bar(
            x=[share],
            y=["runs"],
            orientation="h",
            name=name,
            marker={"color": figures.COLOURS[place], "pattern": {"shape": ("", "/", "x")[place]}},
            hovertemplate=f"{name}: {share:.0%}<extra></extra>",
        )
    figures.lay_out(figure, "share of the variance between runs", "")
    figure.update_layout(barmode="stack")
    figures.rows_high(figure, 1, 90)
    figure.update_yaxes(showticklabels=False)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    own, same, rest = shares.values()
    title = (
        f"Of the differences between tuning runs {own:.0%} are the configuration's; {same + rest:.0%} come from seeds "
        "and noise."
    )
    notes = (
        f"{len(seen.trials)} trials on {seen.scores.shape[1]} seeds, one run each. What all configurations share does "
        "no harm where they are compared on the same seeds; the rest is what makes a lucky one win.",
    )
    listed = "; ".join(f"{name}: {share:.0%}" for name, share in shares.items())
    return figures.Picture(title, f"{title} One bar in three parts. {listed}.", figure, table, notes)


def reliability(found: Findings) -> pd.DataFrame:
    """Return statistics of the winner's and the default's test scores, each with its interval; empty without them."""
    sides = _tested(found)
    higher = found.spec.objective.direction == "maximize"
    rows: list[dict[str, str]] = []
    for statistic, label in (("mean", "mean"), ("median", "median"), ("iqm", "interquartile mean")):
        cells = {name: estimate(scores, statistic) for name, scores in sides.items()}  # type: ignore[arg-type]
        rows.append({"statistic": label, **{name: f"{number(e.value)}, {interval(e)}" for name, e in cells.items()}})
    for share in (0.5, 0.2):
        cells_ = {name: number(cvar(scores, share, higher_is_better=higher)) for name, scores in sides.items()}
        rows.append({"statistic": f"mean of the worst {share:.0%} of seeds (CVaR)", **cells_})
    return pd.DataFrame(rows) if sides else pd.DataFrame()


def profile(found: Findings) -> figures.Picture | None:
    """Draw the share of test seeds that score above each threshold; None without test scores."""
    sides = _tested(found)
    if not sides:
        return None
    every = np.unique([score for scores in sides.values() for score in scores])
    pad = float(np.ptp(every)) * 0.05 or 1.0
    taus = np.unique([every[0] - pad, *every, *(every - 1e-9 * max(1.0, float(np.abs(every).max()))), every[-1] + pad])
    figure, rows = go.Figure(), []
    for index, (name, scores) in enumerate(sides.items()):
        # One task: the bands are binomial, and nothing is drawn at random.
        shares = performance_profile(np.array(scores)[:, None], taus, np.random.default_rng(0)).shares
        colour = figures.COLOURS[index]
        if not math.isnan(shares[0].low):
            figure.add_scatter(
                x=[*taus, *taus[::-1]],
                y=[*(share.high for share in shares), *(share.low for share in reversed(shares))],
                mode="lines",
                fill="toself",
                fillcolor=figures.tint(colour, 0.12),
                line={"width": 0},
                showlegend=False,
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=taus,
            y=[share.value for share in shares],
            mode="lines",
            name=name,
            line={"color": colour, "width": 3, "dash": figures.DASHES[index]},
            hovertemplate=name + ": %{y:.0%} of seeds above %{x:.4g}<extra></extra>",
        )
        rows += [
            {"configuration": name, "above": float(tau), "share": e.value, "low": e.low, "high": e.high}
            for tau, e in zip(taus, shares, strict=True)
        ]
    metric = figures.axis(found.spec.objective.metric)
    figures.lay_out(figure, f"{metric}, test seeds", "share of seeds that score above")
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    middle = float(np.median([score for scores in sides.values() for score in scores]))
    higher = found.spec.objective.direction == "maximize"
    reach = {
        name: float(np.mean(np.array(s) >= middle if higher else np.array(s) <= middle)) for name, s in sides.items()
    }
    title = f"{number(middle)}, the median of them all, is reached by " + " and ".join(
        f"{share:.0%} of the seeds of {name}" for name, share in reach.items()
    )
    if len(every) == 1:
        title = f"Every test seed of {' and '.join(sides)} scores {number(middle)}"
    notes = (
        "Performance profile (Agarwal et al. 2021). Bands: 95 % intervals of each share by itself. Where one line lies "
        f"{'above' if higher else 'below'} the other everywhere, it is better "
        "whatever score matters.",
    )
    return figures.Picture(
        f"{title}.", f"{title}. One falling line a configuration.", figure, pd.DataFrame(rows), notes
    )


def _tested(found: Findings) -> dict[str, list[float]]:
    """Return the test scores of winner and default, as far as all their seeds have one."""
    if found.winner is None:
        return {}
    names = {found.winner.number: f"tuned (trial {found.winner.number})", 0: "default (trial 0)"}
    return {
        name: found.scores(trial, "test") for trial, name in names.items() if found.value(trial, "test") is not None
    }
