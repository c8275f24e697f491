"""The report's figures: what each shows in a sentence, its drawing as SVG, and its data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from autorl.analysis import Direction, Estimate, Statistic, estimate
from autorl.ledger.reader import Reader
from autorl.ledger.records import CurveRecord, RunRecord
from autorl.report.findings import Findings
from autorl.report.svg import CARD, DEFAULT, INK, MUTED, TUNED, VALIDATION, dots, embed, render
from autorl.report.words import number
from autorl.trial import Phase

_NOTHING = Estimate(math.nan, math.nan, math.nan)
MANY = 40  # more thin lines than this hide one another


@dataclass(frozen=True)
class Drawing:
    """A figure of the report.

    Attributes:
        title: what it is about.
        caption: what it shows for this study, in sentences; without a drawing, why there is none.
        svg: the drawing, or None where there is nothing to draw yet.
        columns: names of its data's columns.
        rows: its data, as text.
    """

    title: str
    caption: str
    svg: str | None = field(default=None, repr=False)
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=(), repr=False)

    def _repr_html_(self) -> str:
        """Return what a notebook shows of it."""
        said = f"<figcaption>{escape(self.caption)}</figcaption>"
        return f"<figure><strong>{escape(self.title)}</strong>{self.svg or ''}{said}</figure>"


class Figures(list[Drawing]):
    """Several figures, which a notebook shows one below the other."""

    def _repr_html_(self) -> str:
        return "".join(drawing._repr_html_() for drawing in self)


@dataclass(frozen=True)
class Side:
    """One of the two configurations that the test seeds compare."""

    name: str
    trial: int
    colour: str
    marker: str
    dashes: str

    @property
    def label(self) -> str:
        """Its name in a legend."""
        return f"{self.name} (trial {self.trial})"


_DEFAULT = Side("default", 0, DEFAULT, "D", "--")


def figures(findings: Findings, reader: Reader) -> list[Drawing]:
    """Draw the report's figures.

    Args:
        findings: what the study found.
        reader: the ledger, for the learning curves.
    """
    drawings = [
        _test_scores(findings),
        _learning_curves(findings, reader),
        _tuning_scores(findings),
        _promises(findings),
    ]
    return [
        d if d.svg is None else replace(d, svg=embed(d.svg, f"figure{index}-", f"{d.title}. {d.caption}"))
        for index, d in enumerate(drawings, 1)
    ]


def sides(findings: Findings) -> list[Side]:
    """Return the configurations that the test seeds compare: the winner, and the default unless it is the winner."""
    if findings.winner is None:
        return []
    if findings.winner.number == 0:
        return [_DEFAULT]
    return [Side("tuned", findings.winner.number, TUNED, "o", "-"), _DEFAULT]


def _test_scores(findings: Findings) -> Drawing:
    title, shown, seeds = "Test scores by seed", sides(findings), findings.spec.seeds.test
    scores = {side: _by_seed(findings, side.trial, "test") for side in shown}
    if not any(scores.values()):
        return Drawing(title, _no_test_yet(findings))
    statistic = findings.spec.objective.statistic
    whole = {
        side: estimate(list(by_seed.values()), statistic)
        for side, by_seed in scores.items()
        if len(by_seed) == len(seeds)
    }

    def draw(axes: Axes) -> None:
        for side, by_seed in scores.items():
            # Side by side, so that equal scores do not hide each other.
            shift = 0.0 if len(shown) == 1 else (-0.12 if side.name == "tuned" else 0.12)
            places = [seeds.index(seed) + shift for seed in by_seed]
            dots(axes, places, list(by_seed.values()), side.marker, side.colour, 6.5, side.label)
            failed = [seeds.index(run.seed) + shift for run in _failed(findings, side)]
            # At the bottom, whatever the scale: a failed run has no score.
            axes.plot(failed, [0.03] * len(failed), "x", color=side.colour, transform=axes.get_xaxis_transform())
            if side in whole:
                _interval(axes, len(seeds) + 0.6 + 2 * shift, whole[side], side)
        longest = max(len(str(seed)) for seed in seeds)
        every = math.ceil(len(seeds) * (7 * longest + 8) / 300)
        ticks = [*range(0, len(seeds), every), len(seeds) + 0.6]
        axes.set_xticks(ticks, [*(str(seed) for seed in seeds[::every]), statistic])
        axes.axvline(len(seeds) - 0.2, color=MUTED, linewidth=0.8)
        axes.set_xlim(-0.6, len(seeds) + 1.2)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("test seed")
        axes.set_ylabel(_scale(findings))

    said = [f"the {side.name} configuration scores {_range(found.values())}" for side, found in scores.items() if found]
    caption = f"On {_count(len(seeds), 'test seed')}, {' and '.join(said)}."
    intervals = any(math.isfinite(value.low) for value in whole.values())
    if whole:
        between = " with its 95% interval" if intervals else "; so few seeds support no interval"
        caption += f" At the right, the {statistic}{between}."
    if failures := sum(len(_failed(findings, side)) for side in shown):
        caption += f" {_count(failures, 'run')} failed, marked × below."
    if len(whole) < len(shown):
        caption += f" Without a score on every seed there is no {statistic}."
    rows = [(str(seed), *(number(scores[side].get(seed), 6) for side in shown)) for seed in seeds]
    for name, end in ((statistic, "value"), ("95% interval from", "low"), ("95% interval to", "high")):
        rows.append((name, *(number(getattr(whole[s], end), 6) if s in whole else "–" for s in shown)))
    return Drawing(title, caption, render(draw), ("seed", *(side.name for side in shown)), tuple(rows))


def _interval(axes: Axes, x: float, value: Estimate, side: Side) -> None:
    if math.isfinite(value.low):
        axes.plot([x, x], [value.low, value.high], "-", color=side.colour, linewidth=2.2, alpha=0.75)
    axes.plot([x], [value.value], side.marker, color=side.colour, markersize=8, markeredgecolor=CARD)


def _learning_curves(findings: Findings, reader: Reader) -> Drawing:
    title, shown = "Learning curves on the test seeds", sides(findings)
    metric, statistic = findings.spec.curve_metric, findings.spec.objective.statistic
    curves = reader.curves(findings.study.name, [side.trial for side in shown], "test")
    lines = {s: [_points(c, metric) for c in curves if c.run.trial == s.trial and _points(c, metric)] for s in shown}
    lines = {side: found for side, found in lines.items() if found}
    if not lines:
        return Drawing(title, _no_test_yet(findings))
    # As in the headline: over the seeds that did not fail, a mean would flatter.
    complete = [side for side in lines if findings.value(side.trial, "test") is not None]
    middle = {side: _middle(lines[side], statistic) for side in complete}

    def draw(axes: Axes) -> None:
        for side, found in lines.items():
            mean = middle.get(side, {})
            steps = list(mean)
            for line in found[:MANY]:
                axes.plot(list(line), list(line.values()), "-", color=side.colour, linewidth=0.8, alpha=0.3)
            low, high = [e.low for e in mean.values()], [e.high for e in mean.values()]
            axes.fill_between(steps, low, high, color=side.colour, alpha=0.15, linewidth=0)
            dot = side.marker if len(steps) <= MANY else ""
            axes.plot(
                steps,
                [e.value for e in mean.values()],
                side.dashes + dot,
                color=side.colour,
                linewidth=2.2,
                markersize=5,
                label=side.label,
            )
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel("environment steps")
        axes.set_ylabel(_scale(findings))

    names = {side: "the default" if side.trial == 0 else side.name for side in lines}
    ends = [f"{number(list(mean.values())[-1].value)} for {names[side]}" for side, mean in middle.items()]
    what = f"{findings.spec.objective.over_seeds} {metric}"
    caption = f"At the end of training the {what} is {' and '.join(ends)}." if ends else ""
    caption += _overtaken(findings, middle)
    few = f", {MANY} of them drawn" if max(map(len, lines.values())) > MANY else ""
    caption += f" Thin lines are seeds{few}, thick ones their {statistic}"
    spread = any(math.isfinite(e.low) for mean in middle.values() for e in mean.values())
    caption += ", bands its 95% interval at that step." if spread else "."
    if len(complete) < len(shown):
        caption += f" Without a score on every seed there is no {statistic}."
    rows = tuple(
        (side.name, f"{steps:,}", *(number(v, 6) for v in (e.value, e.low, e.high)), *_across(lines[side], steps))
        for side in lines
        for steps, e in (middle.get(side) or dict.fromkeys(_steps(lines[side]), _NOTHING)).items()
    )
    columns = ("configuration", "steps", statistic, "95% from", "to", "by seed")
    return Drawing(title, caption.strip(), render(draw), columns, rows)


def _steps(lines: Sequence[dict[int, float]]) -> list[int]:
    return sorted(set().union(*lines))


def _across(lines: Sequence[dict[int, float]], steps: int) -> tuple[str]:
    return ("  ".join(number(line[steps]) for line in lines if steps in line),)


def _points(curve: CurveRecord, metric: str) -> dict[int, float]:
    """Return steps → value; a diverged run's points may lack a number."""
    found = {point.env_steps: point.metrics.get(metric, math.nan) for point in curve.points}
    return {steps: value for steps, value in found.items() if math.isfinite(value)}


def _middle(lines: Sequence[dict[int, float]], statistic: Statistic) -> dict[int, Estimate]:
    """Return steps → estimate, at the steps that every seed has: a run that ended early would bend the mean."""
    longest = max(max(line) for line in lines)
    whole = [line for line in lines if max(line) == longest]
    common = sorted(set.intersection(*(set(line) for line in whole)))
    return {steps: estimate([line[steps] for line in whole], statistic) for steps in common}


def _overtaken(findings: Findings, middle: dict[Side, dict[int, Estimate]]) -> str:
    """Say when the tuned configuration reached what the default ended with, if it did so before its own end."""
    if len(middle) < 2:
        return ""
    tuned, default = middle.values()
    goal = list(default.values())[-1].value
    direction = findings.spec.middle_direction
    reached = next((steps for steps, e in tuned.items() if _better(direction, e.value, goal, or_equal=True)), None)
    if reached is None or reached == max(tuned):
        return ""
    return f" Tuned reached what the default ended with after {reached:,} of {max(tuned):,} environment steps."


def _tuning_scores(findings: Findings) -> Drawing:
    title, trials = "Tuning score by trial", findings.trials
    scored = [t for t in trials if t.value is not None]
    failed = [t.number for t in trials if t.state == "failed"]
    if not scored:
        return Drawing(title, f"No trial has a tuning score{f'; {len(failed)} failed' if failed else ' yet'}.")
    leaders = [(trial.number, trial.value or 0.0) for trial, leader in findings.lead if leader is trial]

    def draw(axes: Axes) -> None:
        numbers, values = [n for n, _ in leaders], [v for _, v in leaders]
        axes.plot(
            [*numbers, trials[-1].number], [*values, values[-1]], drawstyle="steps-post", color=INK, label="incumbent"
        )
        chosen = {side.trial: side for side in sides(findings) or [_DEFAULT]}
        plain = [t for t in scored if t.number not in chosen]
        dots(axes, [t.number for t in plain], [t.value or 0.0 for t in plain], "o", MUTED, 6, "_trials")
        for side in reversed(chosen.values()):
            value = trials[side.trial].value
            if value is not None:
                label = "winner" if side.name == "tuned" else "default"
                dots(axes, [side.trial], [value], side.marker, side.colour, 8, label)
        if failed:
            at_bottom = axes.get_xaxis_transform()
            axes.plot(failed, [0.02] * len(failed), "x", color=INK, transform=at_bottom, label="failed", clip_on=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.margins(x=0.04)
        if len(trials) == 1:
            axes.set_xlim(-0.5, 0.5)
        axes.set_xlabel("trial (number)")
        axes.set_ylabel(f"{findings.objective}, {_count(len(findings.spec.seeds.tuning), 'tuning seed')}")

    best, value = leaders[-1]
    caption = f"Trial {best} leads {_count(len(scored), 'finished trial')} with a tuning score of {number(value)}"
    changes = {0: "never changed", 1: "changed once"}.get(len(leaders) - 1, f"changed {len(leaders) - 1} times")
    caption += f"; the lead {changes}." if len(scored) > 1 else "."
    caption += f" {_count(len(failed), 'trial')} failed, marked × below." if failed else ""
    rows = tuple((str(t.number), t.origin, t.state, number(t.value, 6)) for t in trials)
    return Drawing(title, caption, render(draw), ("trial", "origin", "state", "tuning score"), rows)


def _promises(findings: Findings) -> Drawing:
    title = "What tuning promised, and what fresh seeds gave"
    phases: tuple[tuple[Phase, str, str], ...] = (("validation", "^", VALIDATION), ("test", "s", INK))
    pairs: dict[Phase, list[tuple[int, float, float]]] = {
        phase: [
            (t.number, t.value, value)
            for t in findings.trials
            if t.value is not None and (value := findings.value(t.number, phase)) is not None
        ]
        for phase, _, _ in phases
    }
    if not any(pairs.values()):
        return Drawing(title, "No trial has a score on fresh seeds, validation or test.")

    def draw(axes: Axes) -> None:
        for phase, marker, colour in phases:
            if pairs[phase]:
                xs, ys = [p[1] for p in pairs[phase]], [p[2] for p in pairs[phase]]
                dots(axes, xs, ys, marker, colour, 8, f"{phase} seeds")
        both = [value for found in pairs.values() for _, x, y in found for value in (x, y)]
        pad = 0.1 * (max(both) - min(both)) or 1.0
        ends = (min(both) - pad, max(both) + pad)
        axes.plot(ends, ends, ":", color=MUTED, linewidth=1.2, label="as promised", zorder=1)
        axes.set(xlim=ends, ylim=ends)
        if sum(map(len, pairs.values())) <= 12:
            for n, x, y in (point for found in pairs.values() for point in found):
                left = x > sum(ends) / 2
                axes.annotate(
                    str(n),
                    (x, y),
                    (-6 if left else 6, 0),
                    textcoords="offset points",
                    ha="right" if left else "left",
                    va="center",
                    fontsize=9,
                    color=MUTED,
                )
        axes.set_xlabel(f"{findings.objective}, {_count(len(findings.spec.seeds.tuning), 'tuning seed')}")
        axes.set_ylabel(f"{findings.objective}, fresh seeds")

    direction = findings.spec.objective.direction
    said = [
        f"{sum(_better(direction, x, y) for _, x, y in found)} of {_count(len(found), 'trial')} did worse on {phase}"
        for phase, found in pairs.items()
        if found
    ]
    side = "below" if findings.spec.objective.direction == "maximize" else "above"
    caption = f"{' and '.join(said)} seeds than the tuning score promised; such a trial lies {side} the dotted line."
    rows = tuple(
        (str(n), phase, number(x, 6), number(y, 6), number(y - x, 6))
        for phase, found in pairs.items()
        for n, x, y in found
    )
    return Drawing(title, caption, render(draw), ("trial", "fresh seeds", "tuning score", "score there", "gap"), rows)


def _by_seed(findings: Findings, trial: int, phase: Phase) -> dict[int, float]:
    runs = findings.runs.get(trial, ())
    return {run.seed: run.score for run in runs if run.phase == phase and run.score is not None}


def _failed(findings: Findings, side: Side) -> list[RunRecord]:
    return [run for run in findings.failed if run.trial == side.trial and run.phase == "test"]


def _no_test_yet(findings: Findings) -> str:
    ended = findings.study.state == "finished"
    if findings.winner is None:
        waiting = "The test seeds wait until tuning has ended and a winner is chosen."
        return "There is no winner, so nothing was trained on the test seeds." if ended else waiting
    return "No run on a test seed has a score." if ended else "No run on a test seed has finished yet."


def _better(direction: Direction, a: float, b: float, or_equal: bool = False) -> bool:
    return (a > b if direction == "maximize" else a < b) or (or_equal and a == b)


def _range(values: Iterable[float]) -> str:
    found = sorted(values)
    low, high = found[0], found[-1]
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _scale(findings: Findings) -> str:
    """Return the label of an axis of single runs' scores; their unit is the metric's own."""
    return f"{findings.spec.curve_metric}, mean of {_count(findings.spec.evaluation.episodes, 'episode')}"
