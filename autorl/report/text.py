"""The report on a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autorl.analysis import Estimate
from autorl.ledger.reader import Reader
from autorl.report.compare import Comparison
from autorl.report.compare import sentences as compared
from autorl.report.curricula import curriculum_sentences
from autorl.report.findings import PHASES, Findings
from autorl.report.front import Front
from autorl.report.influence import SHARES, influences, shares
from autorl.report.scaling import Scaled, scalings
from autorl.report.sentences import headline_lines, sentences, what_matters
from autorl.report.switches import TOGETHER, Switch, switches
from autorl.report.words import duration, energy, interval, number, probability, setting, trained

TOP = 5


def captured(show: Callable[[Console], None]) -> str:
    """Return what is shown on a terminal of 100 columns, as plain text."""
    console = Console(width=100, highlight=False, force_terminal=False, color_system=None)
    with console.capture() as capture:
        show(console)
    return capture.get()


def show(findings: Findings, reader: Reader, console: Console) -> None:
    """Print the report of a study.

    Args:
        findings: what the study found.
        reader: the ledger, for the learning curves.
        console: where to.
    """
    if findings.study.paused is not None:
        console.print(Text(f"Paused: {findings.study.paused}", style="yellow"), soft_wrap=True)
    console.print(_headline(findings))
    for sentence in sentences(findings):
        console.print(_point(sentence))
    curves = partial(reader.curves, findings.study.name)
    seen = influences(findings, curves)
    for sentence in what_matters(seen, findings.spec.objectives):
        console.print(_point(sentence))
    for sentence in curriculum_sentences(findings, curves):
        console.print(_point(sentence))
    for caution in findings.cautions:
        console.print(_point(f"[yellow]Caution: {caution}.[/yellow]"))
    if findings.winner is not None or findings.incumbent is not None:
        console.print()
        console.print(_configuration(findings))
        console.print()
        console.print(_trials(findings) if findings.front is None else front_table(findings, findings.front))
    if len(seen) > 1 and (rows := shares(seen)):
        console.print()
        console.print(_shares(findings, rows))
    if tried := switches(findings):
        console.print()
        console.print(_switches(findings, tried))
    if grown := scalings(findings, lambda trials: reader.curves(findings.study.name, trials, "tuning")):
        console.print()
        console.print(_scalings(findings, grown))
    console.print()
    console.print(_spent(findings))


def _point(sentence: str) -> Table:
    """Return a sentence as a point of a list, whose lines stand under one another."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row("•", sentence)
    return grid


def _headline(findings: Findings) -> RenderableType:
    lines = headline_lines(findings)
    spec = findings.spec
    if not lines:
        return Text(
            f"{findings.study.name}: {findings.study.state}, "
            f"{len(findings.ranked)} of {len(findings.trials)} trials have a tuning score",
            style="bold",
        )
    table = Table.grid(padding=(0, 2))
    for what, value, between in lines:
        table.add_row(what, Text(value, style="bold"), Text(between, style="dim"))
    first = f", the first of {len(spec.objectives)} objectives," if len(spec.objectives) > 1 else ""
    seeds = f"{findings.objective}{first} on {len(spec.seeds.test)} test seeds, never used in tuning"
    return Panel(Group(Text(seeds), table), title=f"[bold]{findings.study.name}", title_align="left", expand=False)


def _configuration(findings: Findings) -> Table:
    best = findings.winner or findings.incumbent
    assert best is not None
    default = findings.trials[0].config.values
    title = f"{'Winner' if findings.winner else 'Incumbent'}: trial {best.number}"
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    table.add_column("hyperparameter")
    table.add_column("tuned", justify="right")
    table.add_column("default", justify="right", style="dim")
    for name in dict.fromkeys([*best.config.values, *default]):
        tuned = best.config.values.get(name)
        shown = setting(tuned) if name in best.config.values else "–"
        table.add_row(name, shown, setting(default[name]) if name in default else "–")
    return table


def _trials(findings: Findings) -> Table:
    table = Table(title="Best trials by tuning data", title_justify="left", box=None, header_style="dim")
    believed = any(trial.posterior is not None for trial in findings.trials)
    columns = ("trial", "trained", *(["expected"] if believed else []), *PHASES, "tuning seeds")
    for column in columns:
        table.add_column(column, justify="left" if column in ("trained", "tuning seeds") else "right")
    shown = findings.ranked[:TOP]
    if findings.trials and findings.trials[0] not in shown:
        shown.append(findings.trials[0])
    for trial in shown:
        name = f"{trial.number}{' (default)' if trial.number == 0 else ''}"
        values = [number(trial.value), *(number(findings.value(trial.number, phase)) for phase in PHASES[1:])]
        if believed:
            values.insert(0, number(trial.posterior.mean if trial.posterior else None))
        seeds = "  ".join(number(score, 3) for score in findings.scores(trial.number, "tuning"))
        style = "bold" if findings.winner is not None and trial.number == findings.winner.number else ""
        table.add_row(name, trained(findings.spec, trial), *values, seeds, style=style)
    return table


def front_table(findings: Findings, traded: Front) -> Table:
    """Show the front's members: each objective by tuning, and by the test seeds with its interval."""
    table = Table(title="The front, and the default beside it", title_justify="left", box=None, header_style="dim")
    table.caption = (
        "Each objective by the tuning seeds → by the test seeds; stays: how likely it is on the front there."
    )
    table.caption_justify = "left"
    table.add_column("trial", justify="right")
    for objective in findings.spec.objectives:
        table.add_column(objective.words, justify="right", overflow="fold")
    table.add_column("stays", justify="right")
    for member in traded.members:
        mark = " (default)" if member.trial.number == 0 else ""
        cells = []
        for column, tuned in enumerate(member.tuning):
            again = member.test[column] if member.test else None
            cells.append(f"{number(tuned)} → {'–' if again is None else f'{number(again.value)} {_ends(again)}'}")
        stays = "–" if member.survives is None else probability(member.survives)
        knee = findings.winner is not None and member.trial.number == findings.winner.number
        table.add_row(f"{member.trial.number}{mark}", *cells, stays, style="bold" if knee else "")
    return table


def _ends(found: Estimate) -> str:
    return "" if math.isnan(found.low) else f"[{number(found.low, 3)}, {number(found.high, 3)}]"


def _shares(findings: Findings, rows: Sequence[tuple[str, Sequence[float | None]]]) -> Table:
    table = Table(title=SHARES, title_justify="left", box=None, header_style="dim")
    table.add_column("hyperparameter")
    for objective in findings.spec.objectives:
        table.add_column(objective.words, justify="right", overflow="fold")
    for name, own in rows:
        table.add_row(name, *("–" if share is None else f"{share:.0%}" for share in own))
    return table


def _switches(findings: Findings, tried: Sequence[Switch]) -> Table:
    title = f"What was asked for beside the default: {findings.spec.objective.metric} minus the default's"
    caption = f"Means over {tried[0].phase} seeds; * excludes 0. {TOGETHER}"
    table = Table(title=title, caption=caption, box=None, header_style="dim", title_justify="left")
    table.caption_justify = "left"
    for column in ("change", "trial", "effect", "interval", "seeds"):
        table.add_column(column, justify="left" if column == "change" else "right", overflow="fold")
    for one in tried:
        mark = "*" if one.decided else " "
        ends = " to ".join(number(end, 3) for end in (one.effect.low, one.effect.high))
        between = f"failed on {one.failed}" if one.failed else ends
        cells = f"{number(one.effect.value, 3)}{mark}", between, str(one.seeds)
        table.add_row(one.change, str(one.trial), *cells)
    return table


def _scalings(findings: Findings, grown: Sequence[Scaled]) -> Table:
    metric = findings.spec.curve_metric
    title = f"What more compute would buy: {metric}, and the sigmoid that its mean over seeds follows"
    caption = "At equal compute: the fitted score at what the cheapest has spent; – where evaluations do not tell."
    table = Table(title=title, caption=caption, box=None, header_style="dim", title_justify="left")
    table.caption_justify = "left"
    columns = ("configuration", "trial", "GFLOP", "score", "interval", "at equal", "towards", "half at", "exponent")
    for column in columns:
        table.add_column(column, justify="left" if column == "configuration" else "right", overflow="fold")
    for one in grown:
        told = [number(one.fit.asymptote), number(one.fit.midpoint_env_steps, 3), number(one.fit.exponent, 3)]
        cells = number(one.gflop, 3), number(one.score.value), interval(one.score), number(one.equal)
        table.add_row(one.configuration, str(one.trial), *cells, *(told if one.fit.identified else ["–"] * 3))
    return table


def _spent(findings: Findings) -> Table:
    table = Table(title="Budget spent", title_justify="left", box=None, header_style="dim")
    told = any("energy_joules" in spent for spent in findings.spent.values())
    for column in ("phase", "runs", "environment steps", "training time", *(["energy"] if told else [])):
        table.add_column(column, justify="left" if column == "phase" else "right")
    for phase, spent in findings.spent.items():
        if spent["planned_env_steps"] or spent["runs"]:
            steps = f"{spent['env_steps']:,.0f}"
            if findings.study.state != "finished" and spent["planned_env_steps"]:
                steps += f" of {spent['planned_env_steps']:,.0f}"
            joules = [energy(spent.get("energy_joules"))] if told else []
            table.add_row(phase, f"{spent['runs']:.0f}", steps, duration(spent["wall_seconds"]), *joules)
    return table


def show_comparison(found: Comparison, console: Console) -> None:
    """Print studies side by side."""
    table = Table(box=None, header_style="dim")
    for column in ("study", "optimizer", "tuning steps", "tuning score at equal budget", "winner", "test score"):
        table.add_column(column, justify="left" if column in ("study", "optimizer") else "right", overflow="fold")
    for side in found.sides:
        spec, at = side.found.spec, side.at_equal_budget
        table.add_row(
            side.found.study.name,
            spec.optimizer.name,
            f"{side.found.spent['tuning']['env_steps']:,.0f}",
            "–" if at is None else f"{number(at.trial.value)} (trial {at.trial.number})",
            "–" if side.found.winner is None else f"trial {side.found.winner.number}",
            "–" if side.test is None else f"{number(side.test.value)}, {interval(side.test)}",
        )
    console.print(table)
    console.print(
        f"[dim]equal budget: {found.budget:,} environment steps of tuning, the least that any of them spent[/dim]"
    )
    for sentence in compared(found):
        console.print(_point(sentence))
    for caution in found.cautions:
        console.print(_point(f"[yellow]Caution: {caution}.[/yellow]"))
