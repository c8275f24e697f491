"""The figures of the page on seeds: what tuning promised, and what seeds that chose nothing say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from autorl.report.evidence import tuning_minus_test
from autorl.report.findings import Findings
from autorl.report.words import interval, number, probability, wins
from autorl.trial import Phase
from board import figures
from board.tables import named

LATER: tuple[Phase, ...] = ("validation", "test")


def promised(found: Findings) -> figures.Picture | None:
    """Draw validation and test scores against tuning scores; None while no trial has both."""
    rows = [row for phase in LATER for trial in found.trials if (row := _pair(found, trial.number, phase))]
    if not rows:
        return None
    table = pd.DataFrame(rows).astype(dict.fromkeys(("low", "high", "tuning low", "tuning high"), float))
    figure = go.Figure()
    low, high = _range(table)
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        name="equal scores",
        line={"color": figures.NEUTRAL, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
    for index, phase in enumerate(("test", "validation")):
        part = table[table["phase"] == phase]
        if len(part):
            _points(figure, part, phase, index)
    figures.lay_out(
        figure,
        figures.objective_axis(found.spec, "tuning seeds"),
        f"{figures.axis(found.spec.objective.metric)}, validation and test seeds"
        if found.spec.seeds.validation
        else f"{figures.axis(found.spec.objective.metric)}, test seeds",
    )
    figure.update_xaxes(range=[low, high])
    figure.update_yaxes(range=[low, high])
    title = _promised_title(found, table)
    said = "; ".join(
        f"{row['trial']}: tuning {number(row['tuning'])}, {row['phase']} {number(row['score'])}" for row in rows
    )
    alt = f"{title} Scatter of {len(rows)} points against the line of equal scores. {said}."
    return figures.Picture(title, alt, figure, table, _promised_notes(found))


def _pair(found: Findings, trial: int, phase: Phase) -> dict[str, Any] | None:
    """Return a trial's tuning score and that of a later phase with their intervals, if every seed has a score."""
    before, after = found.value(trial, "tuning"), found.value(trial, phase)
    if before is None or after is None:
        return None
    tuning = figures.ends(figures.over_seeds(found.spec, found.scores(trial, "tuning")))
    later = figures.ends(figures.over_seeds(found.spec, found.scores(trial, phase)))
    return {
        "trial": named(found, trial),
        "phase": phase,
        "tuning": before,
        "tuning low": tuning[0],
        "tuning high": tuning[1],
        "score": after,
        "low": later[0],
        "high": later[1],
        **_gap(found, trial, phase),
    }


def _gap(found: Findings, trial: int, phase: Phase) -> dict[str, float | None]:
    """Return tuning minus test with its interval, for the table."""
    between = tuning_minus_test(found, trial) if phase == "test" else None
    if between is None:
        return {}
    low, high = figures.ends(between)
    return {"tuning minus test": between.value, "gap low": low, "gap high": high}


def _range(table: pd.DataFrame) -> tuple[float, float]:
    """Return a range for both axes that holds every point and interval."""
    values = table[["tuning", "tuning low", "tuning high", "score", "low", "high"]].to_numpy(dtype=float)
    finite = values[~pd.isna(values)]
    low, high = float(finite.min()), float(finite.max())
    pad = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    return low - pad, high + pad


def _points(figure: go.Figure, part: pd.DataFrame, phase: str, index: int) -> None:
    colour = figures.COLOURS[index]
    figure.add_scatter(
        x=part["tuning"],
        y=part["score"],
        mode="markers+text",
        text=[name.removeprefix("trial ").split(" ")[0] for name in part["trial"]],
        customdata=part["trial"],
        # A trial has the same tuning score in both phases: labels on opposite sides do not meet.
        textposition="bottom left" if index == 0 else "top right",
        textfont={"size": 12, "color": colour},
        name=f"{phase} seeds",
        marker={"color": colour, "size": 11, "symbol": figures.SYMBOLS[index * 2]},
        error_x=_whiskers(part, "tuning", "tuning low", "tuning high", colour),
        error_y=_whiskers(part, "score", "low", "high", colour),
        hovertemplate="%{customdata}<br>tuning %{x:.4g}, " + phase + " %{y:.4g}<extra></extra>",
    )


def _whiskers(part: pd.DataFrame, value: str, low: str, high: str, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (part[high] - part[value]).fillna(0.0).tolist(),
        "arrayminus": (part[value] - part[low]).fillna(0.0).tolist(),
        "color": figures.tint(colour, 0.55),
        "thickness": 1.2,
        "width": 3,
    }


def _promised_title(found: Findings, table: pd.DataFrame) -> str:
    """Say of how many trials tuning promised too much, and by how much for the winner."""
    phase = "test" if (table["phase"] == "test").any() else "validation"
    part = table[table["phase"] == phase]
    sign = 1.0 if found.spec.objective.direction == "maximize" else -1.0
    losses = sign * (part["tuning"] - part["score"])
    worse, of = int((losses > 0).sum()), len(part)
    some = f"{worse} of {of} trials" if of > 1 else "The one trial trained on both"
    verb = ("score" if of > 1 and worse != 1 else "scores") + " worse"
    told = f"{some} {verb} on the {phase} seeds than in tuning" if worse or of > 1 else ""
    if not told:
        told = f"{some} scores no worse on the {phase} seeds than in tuning"
    if worse == 0 and of > 1:
        told = f"None of {of} trials scores worse on the {phase} seeds than in tuning"
    winner = found.winner
    own = part[part["trial"] == named(found, winner.number)] if winner is not None else part[:0]
    if winner is None or not len(own):
        return f"{told}."
    loss = float(sign * (own["tuning"] - own["score"]).iloc[0])
    if loss == 0:
        return f"{told}; the winner keeps what it promised."
    change = f"{number(abs(loss))} {'worse' if loss > 0 else 'better'}"
    return f"{told}; the winner (trial {winner.number}) is {change} than it promised."


def _promised_notes(found: Findings) -> tuple[str, ...]:
    below = "below" if found.spec.objective.direction == "maximize" else "above"
    notes = [
        f"A point {below} the dashed line did worse on new seeds than in tuning. Whiskers: 95 % intervals over the "
        "seeds, where there are enough of them. They cover chance between seeds, not that tuning picked the best."
    ]
    tested = [n for n in found.runs if n != 0 and found.value(n, "test") is not None]
    extra = [n for n in tested if found.winner is None or n != found.winner.number]
    if extra:
        notes.append("More than winner and default were tested, for analysis: the best of them is no new winner.")
    return tuple(notes)


def tested(found: Findings) -> figures.Picture | None:
    """Draw the test scores by seed, tuned beside default; None before the winner has scores on every test seed."""
    if found.winner is None:
        return None
    # A side with a failed test run is not drawn: without that run it would look better than it is.
    numbers = [n for n in dict.fromkeys((found.winner.number, 0)) if found.value(n, "test") is not None]
    if not numbers:
        return None
    figure, rows = go.Figure(), []
    for place, trial in enumerate(numbers):
        rows += _strip(figure, found, trial, place)
    names = [_side(found, trial) for trial in numbers]
    figures.lay_out(figure, "configuration", f"{figures.axis(found.spec.objective.metric)}, test seeds")
    figure.update_layout(showlegend=False)  # the axis names them
    figure.update_xaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4], showgrid=False
    )
    title = _tested_title(found, numbers)
    scores = "; ".join(f"{_side(found, n)}: {', '.join(number(s) for s in found.scores(n, 'test'))}" for n in numbers)
    alt = f"{title} One point a test seed, beside it the {found.objective} with its interval. {scores}."
    notes = (f"Points: one a test seed. Beside them: their {found.spec.objective.over_seeds} with its 95 % interval.",)
    return figures.Picture(title, alt, figure, pd.DataFrame(rows), notes)


def _side(found: Findings, trial: int) -> str:
    assert found.winner is not None
    if trial != 0:
        return f"tuned (trial {trial})"
    return "default (trial 0)" if found.winner.number != 0 else "default, the winner (trial 0)"


def _strip(figure: go.Figure, found: Findings, trial: int, place: int) -> list[dict[str, Any]]:
    name, colour, symbol = _side(found, trial), figures.COLOURS[place], figures.SYMBOLS[place]
    runs = [r for r in found.runs[trial] if r.phase == "test" and r.score is not None]
    scores = [r.score for r in runs if r.score is not None]
    figure.add_scatter(
        # Seeds with the same score would hide one another: they are spread to the side, always in the same way.
        x=[place - 0.1 + 0.4 * ((i + 0.5) / len(runs) - 0.5) for i in range(len(runs))],
        y=scores,
        mode="markers",
        name=name,
        marker={"color": figures.tint(colour, 0.75), "size": 9, "symbol": symbol},
        customdata=[r.seed for r in runs],
        hovertemplate=f"{name}, seed %{{customdata}}: %{{y:.4g}}<extra></extra>",
    )
    found_mean = figures.over_seeds(found.spec, scores)
    spread = 0.0 if math.isnan(found_mean.low) else found_mean.high - found_mean.value
    below = 0.0 if math.isnan(found_mean.low) else found_mean.value - found_mean.low
    figure.add_scatter(
        x=[place + 0.2],
        y=[found_mean.value],
        mode="markers",
        showlegend=False,
        marker={"color": colour, "size": 13, "symbol": "line-ew", "line": {"width": 3, "color": colour}},
        error_y={"type": "data", "symmetric": False, "array": [spread], "arrayminus": [below], "color": colour},
        hovertemplate=f"{name}: {found.objective} %{{y:.4g}}, {interval(found_mean)}<extra></extra>",
    )
    return [{"configuration": name, "trial": trial, "seed": r.seed, "score": r.score} for r in runs]


def _tested_title(found: Findings, numbers: Sequence[int]) -> str:
    assert found.winner is not None
    headline = found.headline
    if headline is None or len(numbers) == 1:
        trial = numbers[0]
        scores = found.scores(trial, "test")
        spread = f"from {number(min(scores))} to {number(max(scores))}" if len(scores) > 1 else number(scores[0])
        won = trial == 0 == found.winner.number
        who = "The default configuration won" if won else f"Only {_side(found, trial)} has a score on every test seed"
        return f"{who}: {len(scores)} test seed{'s score' if len(scores) > 1 else ' scores'} {spread}."
    better, how = headline.probability, wins(found.spec.objective)
    fresh = f"on a fresh seed, tuned is {how}{' than default' * (how == 'better')}"
    chance = f"{probability(better.value)} ({interval(better, probability)})"  # as the headline shows it
    if math.isnan(better.low) or better.low <= 0.5 <= better.high:
        return f"The test seeds do not tell tuned and default apart: tuned is {how} with probability {chance}."
    if better.value > 0.5:
        return f"{fresh[0].upper()}{fresh[1:]} with probability {chance}."
    return f"Tuning did harm: {fresh} only with probability {chance}."
