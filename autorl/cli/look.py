"""Commands that look at studies: status, best, trials, report, dashboard."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autorl.cli.delivery import deliver
from autorl.cli.output import (
    Format,
    FormatOption,
    StorageOption,
    StudyArgument,
    console,
    emit,
    find_study,
)
from autorl.errors import AutorlError

if TYPE_CHECKING:
    from autorl.ledger.records import TrialRecord
    from autorl.report.findings import Findings
    from autorl.report.front import Front


def status(study: StudyArgument = None, storage: StorageOption = None, format: FormatOption = Format.table) -> None:
    """Say how far studies have got: all of them, or one."""
    from rich.table import Table

    from autorl.ledger.reader import Reader, default_url
    from autorl.report.findings import gather
    from autorl.report.words import number, state

    name, url = find_study(study, storage) if study else (None, default_url(storage))
    rows: list[dict[str, Any]] = []
    with Reader(url) as reader:
        for record in [reader.study(name)] if name else reader.studies():
            found = gather(reader, record.name)
            spent = found.spent
            running = sum(run.state == "running" for runs in found.runs.values() for run in runs)
            rows.append(
                {
                    "study": record.name,
                    "state": state(record),
                    "trials": len(found.trials),
                    "running": running if record.live else 0,
                    "failed": len(found.failed),
                    "env_steps": int(sum(s["env_steps"] for s in spent.values())),
                    "incumbent": found.incumbent.number if found.incumbent else None,
                    "value": found.incumbent.value if found.incumbent else None,
                }
            )
    if format is not Format.table:
        emit(rows, format)
        return
    table = Table(box=None, header_style="dim")
    for column in ("study", "state", "trials", "training", "failed", "steps", "best", "score"):
        left = column in ("study", "state")
        table.add_column(column, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for row in rows:
        trials = str(row["trials"])
        leader = "–" if row["incumbent"] is None else f"trial {row['incumbent']}"
        numbers = (str(row["running"]), str(row["failed"]), f"{row['env_steps']:,}")
        table.add_row(row["study"], row["state"], trials, *numbers, leader, number(row["value"]))
    console().print(table)
    console().print(
        "[dim]training, failed: runs; score: of the best trial on the tuning seeds, which flatters it[/dim]"
    )


def best(
    study: StudyArgument = None,
    storage: StorageOption = None,
    front: Annotated[
        bool, typer.Option("--front", help="With several objectives: every trial of the front, with its objectives.")
    ] = False,
    prefer: Annotated[
        str | None,
        typer.Option(metavar="NAME=WEIGHT,…", help="With several objectives: the trial of the front that suits you."),
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Print the best configuration: the winner, or the incumbent while the study is not finished.

    With several objectives the winner is the knee of the front.
    """
    from rich.table import Table

    from autorl.ledger.reader import Reader
    from autorl.report.findings import gather
    from autorl.report.sentences import headline_lines
    from autorl.report.words import number, setting

    name, url = find_study(study, storage)
    with Reader(url) as reader:
        found = gather(reader, name)
    if front or prefer is not None:
        chosen = _front(found)
        if front:
            _show_front(found, chosen, format)
            return
        preferred: TrialRecord | None = chosen.prefer(_weights(prefer or ""))
    else:
        preferred = None
    trial = preferred or found.winner or found.incumbent
    if trial is None:
        raise AutorlError(f"no trial of '{name}' has finished yet; see: autorl status {name}")
    if format is not Format.table:
        data = {"study": name, "trial": trial.number, "final": found.winner is not None, "tuning_value": trial.value}
        data |= {"test_value": found.value(trial.number, "test"), "params": dict(trial.config.values)}
        emit(
            data
            if format is not Format.csv
            else {**{k: v for k, v in data.items() if k != "params"}, **trial.config.values},
            format,
        )
        return
    out = console()
    kind = "winner" if found.winner else "incumbent (the study is not finished)"
    if preferred is not None:
        kind = "one of the front that these weights prefer"
    values = zip(found.spec.objectives, trial.values or (trial.value,), strict=False)
    tuned = ", ".join(f"{objective.words} {number(value)}" for objective, value in values)
    out.print(f"[bold]{name}[/bold]: trial {trial.number}, the {kind}; {tuned} on the tuning seeds")
    for what, value, between in headline_lines(found) if trial == (found.winner or found.incumbent) else ():
        out.print(f"  {what} on test seeds: [bold]{value}[/bold] [dim]{between}[/dim]")
    table = Table(box=None, show_header=False)
    for key, value in trial.config.values.items():
        table.add_row(key, setting(value))
    out.print(table)


def _front(found: Findings) -> Front:
    if found.front is None:
        several = len(found.spec.objectives) > 1
        why = "no trial has finished yet" if several else "it has one objective, and so no front"
        raise AutorlError(f"study '{found.study.name}': {why}")
    return found.front


def _weights(text: str) -> dict[str, float]:
    """Read `return=0.8,cost=0.2`."""
    weights = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise AutorlError(f"--prefer {text}: '{part}' is no weight; write NAME=WEIGHT, such as return=0.8,cost=0.2")
    return weights


def _show_front(found: Findings, chosen: Front, format: Format) -> None:
    from autorl.report import text

    if format is Format.table:
        console().print(text.front_table(found, chosen))
        return
    names = [objective.name for objective in found.spec.objectives]
    rows = []
    for member in chosen.members[: chosen.on]:
        tuned = {f"{name} (tuning)": value for name, value in zip(names, member.tuning, strict=True)}
        again = {f"{name} (test)": one.value for name, one in zip(names, member.test, strict=False)}
        stays = {"undominated_on_test_seeds": member.survives}
        rows.append({"trial": member.trial.number, **tuned, **again, **stays, **member.trial.config.values})
    emit(rows, format)


def trials(
    study: StudyArgument = None,
    storage: StorageOption = None,
    format: FormatOption = Format.table,
    failed: Annotated[bool, typer.Option("--failed", help="Only trials with a failed run, with its error.")] = False,
) -> None:
    """List the trials, the best first, with their scores on each seed."""
    from rich.table import Table

    from autorl.ledger.reader import Reader
    from autorl.report.findings import gather
    from autorl.report.words import beside, number, setting, tries

    name, url = find_study(study, storage)
    with Reader(url) as reader:
        found = gather(reader, name)
    broken = {run.trial for run in found.failed}
    listed = [*found.ranked, *(t for t in found.trials if t.value is None)]
    rows: list[dict[str, Any]] = []
    for trial in listed:
        if failed and trial.number not in broken:
            continue
        scores = {f"tuning_{run.seed}": run.score for run in found.runs.get(trial.number, ()) if run.phase == "tuning"}
        values = {"trial": trial.number, "origin": trial.origin, "state": trial.state, "value": trial.value}
        rows.append(beside({**values, "test": found.value(trial.number, "test"), **scores}, trial.config.values))
    if format is not Format.table:
        emit(rows, format)
        return
    out = console()
    table = Table(box=None, header_style="dim")
    for column in ("trial", "state", "tuning", "by seed", "test", "configuration"):
        table.add_column(column, justify="right" if column in ("trial", "tuning", "test") else "left", overflow="fold")
    for row in rows:
        by_seed = " ".join(number(value, 3) for key, value in row.items() if key.startswith("tuning_"))
        config = next(t for t in listed if t.number == row["trial"]).config.values
        shown = ", ".join(f"{key} {setting(value)}" for key, value in config.items())
        table.add_row(
            str(row["trial"]), row["state"], number(row["value"]), by_seed, number(row["test"]), f"[dim]{shown}[/dim]"
        )
    out.print(table)
    if failed:
        for run in found.failed:
            out.print(f"\n[bold]trial {run.trial}, {run.phase} seed {run.seed}[/bold]: {tries(run)}")
            out.print((run.error or "").rstrip(), markup=False, soft_wrap=True)


def compare(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY STUDY …", help="Names of studies, or their files.")],
    storage: StorageOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Put studies side by side at equal budget, each against the first."""
    from autorl.ledger.reader import Reader
    from autorl.report import text
    from autorl.report.compare import compare as put_side_by_side
    from autorl.report.findings import gather

    gathered = []
    for study in studies:
        name, url = find_study(study, storage)
        with Reader(url) as reader:
            gathered.append(gather(reader, name))
    found = put_side_by_side(gathered)
    if format is not Format.table:
        data = found.to_dict()
        emit(data["studies"] if format is Format.csv else data, format)
        return
    text.show_comparison(found, console())


def report(
    study: StudyArgument = None,
    storage: StorageOption = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML file with figures instead.")] = None,
    checklist: Annotated[
        Path | None,
        typer.Option(help="Write the checklist of Eimer et al. (2023), filled in: FILE.md or FILE.tex."),
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Report what a study found, and what it is worth."""
    from autorl.ledger.reader import Reader
    from autorl.report import text
    from autorl.report.evidence import evidence
    from autorl.report.findings import gather
    from autorl.report.influence import influences
    from autorl.report.scaling import scalings
    from autorl.report.switches import switches

    name, url = find_study(study, storage)
    with Reader(url) as reader:
        found = gather(reader, name)
        if checklist is not None:
            from autorl.report import checklist as lists

            if checklist.suffix not in lists.FORMATS:
                raise AutorlError(f"'{checklist}' ends in neither of {', '.join(lists.FORMATS)}")
            deliver(lists.FORMATS[checklist.suffix](lists.checklist(found), name), checklist)
            return
        if html is not None:
            from autorl.report.html import page

            deliver(page(found, reader), html)
            return
        if format is not Format.table:
            sensitivity = [
                {"objective": objective.words, "unknown": seen} if isinstance(seen, str) else seen.to_dict()
                for objective, seen in zip(
                    found.spec.objectives, influences(found, partial(reader.curves, name)), strict=True
                )
            ]
            tried = [one.to_dict() for one in switches(found)]
            grown = [one.to_dict() for one in scalings(found, lambda trials: reader.curves(name, trials, "tuning"))]
            more = {
                "sensitivity": sensitivity,
                "switches": tried,
                "scaling": grown,
                "front": None if found.front is None else found.front.to_dict(),
                "constraints": [one.to_dict() for one in found.kept],
            }
            emit({**found.to_dict(), "seeds": evidence(found).to_dict(), **more}, format)
            return
        text.show(found, reader, console())


def dashboard(
    storage: StorageOption = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to bind; one that others can reach needs authentication.")
    ] = "127.0.0.1",
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
) -> None:
    """Look at studies in a browser. Only this machine can reach it, unless visitors have to authenticate."""
    from importlib.util import find_spec

    from autorl.access import check_address, oidc
    from autorl.ledger.reader import default_url
    from autorl.shipped import folder
    from autorl.spec.sources import STORAGE

    if find_spec("streamlit") is None:
        raise AutorlError("the dashboard needs streamlit; run: pip install 'autorl[dashboard]'")
    check_address(address, oidc=oidc())
    app = folder("dashboard") / "app.py"
    flags = {
        "server.address": address,
        "server.port": str(port),
        "server.headless": str(headless).lower(),
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "client.toolbarMode": "viewer",
    }
    command = [
        sys.executable,
        "-m",
        "autorl.cli.serve",
        "run",
        str(app),
        *(f"--{key}={value}" for key, value in flags.items()),
    ]
    environment = {**os.environ, STORAGE: default_url(storage)}
    # The command becomes the server, so that whoever stops the one has stopped the other.
    os.execve(sys.executable, command, environment)  # noqa: S606 - a fixed program with its arguments as a list
