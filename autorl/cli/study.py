"""Commands that make and conduct studies: init, validate, run, test."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autorl.cli.output import StorageOption, StudyArgument, console, find_study
from autorl.errors import AutorlError, StudyPaused, did_you_mean

if TYPE_CHECKING:
    from autorl.spec.study import StudySpec

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Study file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Change keys of the file: budget.trials=8")
]


def init(
    algorithm: Annotated[str, typer.Argument(help="Algorithm: ppo, dqn, sac, …")],
    env: Annotated[str, typer.Argument(help="Gymnasium environment id: CartPole-v1")],
    out: Annotated[Path | None, typer.Option(help="File to write (default: ALGORITHM-ENV.yaml).")] = None,
) -> None:
    """Write a commented study for an algorithm and an environment."""
    from autorl.cli.template import study_file
    from autorl.shipped import folder

    spaces = {path.stem: path for path in sorted(folder("search_spaces").glob("*.yaml"))}
    if algorithm not in spaces:
        raise AutorlError(f"no search space for '{algorithm}'{did_you_mean(algorithm, spaces)}")
    name, text = study_file(algorithm, env, spaces[algorithm].read_text(encoding="utf-8"))
    target = out or Path(f"{name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise AutorlError(f"'{target}' exists; write another file with --out") from None
    except OSError as error:
        raise AutorlError(f"'{target}' cannot be written: {error.strerror}") from None
    console().print(f"Wrote {target}. Next:\n  autorl validate {target}\n  autorl run {target}")


def validate(file: FileArgument, overrides: Overrides = None) -> None:
    """Show a study as it will run, five configurations of its space, and what it will cost; or a search-space file."""
    from autorl.cli.preview import samples, show
    from autorl.spec.load import load_space
    from autorl.spec.sources import is_space

    if not overrides and is_space(file):
        console().print(samples(load_space(file), 0))
        return
    show(_load(file, overrides), console())


def run(file: FileArgument, overrides: Overrides = None) -> None:
    """Start a study, or go on with it: tune, choose the winner, test it, report."""
    from autorl.engine.conductor import conduct
    from autorl.engine.signals import stopping
    from autorl.ledger.reader import Reader
    from autorl.report import text
    from autorl.report.findings import gather
    from autorl.report.progress import watching

    spec = _load(file, overrides)
    out = console()
    again = shlex.join(["autorl", "run", str(file), *(overrides or [])])
    try:
        with watching(spec, out) as watch, stopping() as asked:
            finished = conduct(spec, watch, asked)
            interrupted = asked()
    except KeyboardInterrupt:
        out.print(f"Stopped. Nothing that finished is lost; go on with:\n  {again}", soft_wrap=True)
        raise
    except StudyPaused as paused:
        raise AutorlError(
            f"paused: {paused}\nWhen the cause is mended, give the failed runs another chance, and go on with:\n"
            f"  autorl retry --failed {spec.study}{_where(spec)}\n  {again}"
        ) from None
    if not finished:
        out.print(f"Stopped, with the runs in training saved. Go on with:\n  {again}", soft_wrap=True)
        raise typer.Exit(130 if interrupted else 0)
    with Reader(spec.storage) as reader:
        text.show(gather(reader, spec.study), reader, out)
    _next_steps(spec)


def test(
    study: StudyArgument = None,
    storage: StorageOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best trials by tuning data.")] = 5,
    trial: Annotated[
        list[int] | None, typer.Option(help="Test this trial (may be given several times) rather than the best.")
    ] = None,
) -> None:
    """Train more trials of a finished study on its test seeds, to see how tuning and test scores relate."""
    from autorl.engine.conductor import retest
    from autorl.engine.signals import stopping
    from autorl.ledger.reader import Reader
    from autorl.report import text
    from autorl.report.findings import gather
    from autorl.report.progress import watching

    name, url = find_study(study, storage)
    with Reader(url) as reader:
        findings = gather(reader, name)
    numbers = trial or [t.number for t in findings.ranked[:top]]
    spec = findings.spec.model_copy(update={"storage": url})
    out = console()
    with watching(spec, out) as watch, stopping() as asked:
        finished = retest(spec, numbers, watch, asked)
    if not finished:
        out.print("Stopped, with the runs in training saved. The same command goes on.")
        raise typer.Exit(130)
    with Reader(url) as reader:
        text.show(gather(reader, name), reader, out)


def _load(file: Path, overrides: list[str] | None) -> StudySpec:
    from autorl.engine.check import check
    from autorl.spec.load import draft_study

    return check(draft_study(file, overrides or []))


def _next_steps(spec: StudySpec) -> None:
    from autorl.report.export import ending, fitting

    where, own = _where(spec), fitting(spec.algorithm.backend)[0]
    told = {
        "sb3": "the winner as a plain SB3 script",
        "trl": "the winner for TRL",
        "command": "the winner's command line",
    }
    out = console()
    out.print("\n[bold]What next[/bold]")
    for command, why in (
        (f"autorl report {spec.study} --html {spec.study}.html{where}", "the report with figures, as one file"),
        (f"autorl dashboard{where}", "look at trials and learning curves in a browser"),
        (
            f"autorl export {spec.study} --format {own} --out {spec.study}.{ending(own)}{where}",
            told.get(own, "the winner as data"),
        ),
        (f"autorl trials {spec.study}{where}", "every trial"),
    ):
        out.print(f"  {command}\n    [dim]{why}[/dim]", soft_wrap=True)


def _where(spec: StudySpec) -> str:
    """Return the option that names the study's database, where it is needed; never with a password."""
    from autorl.ledger.database import shown

    if spec.storage == "sqlite:///autorl.db":
        return ""
    return f" --storage {shlex.quote(spec.storage)}" if shown(spec.storage) == spec.storage else " --storage URL"
