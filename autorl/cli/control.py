"""Commands for a study that is conducted, or was: stop, watch, track, retry, replay."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from autorl.cli.output import StorageOption, StudyArgument, console, find_study
from autorl.errors import AutorlError, TrackerError

_WATCH_SECONDS = 1.0
_TRACK_SECONDS = 5.0


def stop(study: StudyArgument = None, storage: StorageOption = None) -> None:
    """Ask the engine of a study, wherever it runs, to save what is in training and stop."""
    from autorl.ledger.reader import Reader
    from autorl.ledger.requests import ask_to_stop

    name, url = find_study(study, storage)
    holder = ask_to_stop(url, name)
    out = console()
    out.print(f"Asked {holder} to stop '{name}': the runs in training save their state.")
    with Reader(url) as reader:
        while reader.study(name).live:
            time.sleep(_WATCH_SECONDS / 4)
    out.print("It has stopped. Nothing that finished is lost; `autorl run` with its file goes on.")


def watch(study: StudyArgument = None, storage: StorageOption = None) -> None:
    """Show the progress of a study that an engine conducts elsewhere, until it ends."""
    from autorl.engine.progress import observe
    from autorl.ledger.reader import Reader
    from autorl.report import text
    from autorl.report.findings import gather
    from autorl.report.progress import watching

    name, url = find_study(study, storage)
    out = console()
    with Reader(url) as reader:
        with watching(reader.study(name).spec, out) as show:
            while (record := reader.study(name)).live:
                show(observe(reader, record))
                time.sleep(_WATCH_SECONDS)
        if record.paused is not None:
            out.print(f"Paused: {record.paused}", markup=False, soft_wrap=True)
        elif record.state != "finished":
            out.print(
                f"No engine conducts '{name}'; it is in its {record.state} phase. `autorl run` with its file goes on."
            )
        text.show(gather(reader, name), reader, out)


def track(
    study: StudyArgument = None,
    storage: StorageOption = None,
    tensorboard: Annotated[str | None, typer.Option(metavar="FOLDER", help="Write TensorBoard's event files.")] = None,
    mlflow: Annotated[str | None, typer.Option(metavar="URI", help="Write to MLflow: a server, or a database.")] = None,
    wandb: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Write to Weights & Biases; WANDB_MODE=offline stays here.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the study is not conducted any more.")] = False,
) -> None:
    """Mirror the runs of a study into a tracker, each once."""
    from autorl.ledger.reader import Reader
    from autorl.report.tracking import TRACKERS, make_tracker, mirror

    name, url = find_study(study, storage)
    asked = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb}
    with Reader(url) as reader:
        reader.study(name)
        trackers = {kind: make_tracker(kind, name, where) for kind, where in asked.items() if where is not None}
        if not trackers:
            options = "; ".join(f"--{kind}, {where}" for kind, (_, where) in TRACKERS.items())
            raise AutorlError(f"say where to write to: {options}")
        written = dict.fromkeys(trackers, 0)
        live = True
        while live:
            live = follow and reader.study(name).live
            for kind, tracker in trackers.items():
                try:
                    written[kind] += mirror(reader, name, tracker, asked[kind] or "")
                except TrackerError as error:
                    if not live:
                        raise
                    typer.echo(f"{error}; trying again", err=True)
            if live:
                time.sleep(_TRACK_SECONDS)
    for kind, count in written.items():
        console().print(f"{kind}: {count} {'run' if count == 1 else 'runs'} written to {asked[kind]}")


def retry(
    study: StudyArgument = None,
    storage: StorageOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Runs that failed, with all their tries again.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Runs marked as training that nobody trains.")] = False,
) -> None:
    """Give runs of a stopped study another chance; `autorl run` then trains them."""
    from autorl.engine.retry import retry_failed, retry_stale
    from autorl.ledger.reader import Reader

    if not failed and not stale:
        raise AutorlError("say which runs: --failed, --stale, or both")
    name, url = find_study(study, storage)
    with Reader(url) as reader:
        spec = reader.study(name).spec.model_copy(update={"storage": url})
    out = console()
    for asked, again, kind in ((failed, retry_failed, "failed"), (stale, retry_stale, "stale")):
        if not asked:
            continue
        runs = again(spec, lambda progress: out.print(progress.news, markup=False))
        for run in runs:
            out.print(f"trial {run.trial}, {run.phase} seed {run.seed} waits to be trained again")
        if not runs:
            out.print(f"'{name}' has no {kind} runs.")
    out.print("Go on with: autorl run FILE")


def replay(
    study: StudyArgument = None,
    storage: StorageOption = None,
    into: Annotated[
        str | None, typer.Option(help="Database: conduct the study once more there, and compare the results too.")
    ] = None,
) -> None:
    """Propose a study's trials again from what each proposal knew, and say whether they are the same."""
    from autorl.engine.proposals import replay as propose_again
    from autorl.ledger.reader import Reader

    name, url = find_study(study, storage)
    out = console()
    with Reader(url) as reader:
        again = propose_again(reader, reader.study(name).spec)
        different = [proposal.number for proposal, same in again if not same]
        count = len(reader.proposals(name))
    if different:
        raise AutorlError(f"{len(different)} of {count} proposals differ now, the first is proposal {different[0]}")
    out.print(f"{count} of {count} proposals of '{name}' are the same again.")
    if into is not None:
        _again(name, url, into)


def _again(name: str, url: str, into: str) -> None:
    from autorl.engine.conductor import conduct
    from autorl.engine.proposals import earlier_budgets
    from autorl.engine.signals import stopping
    from autorl.ledger.database import shown
    from autorl.ledger.digest import digest
    from autorl.ledger.reader import Reader
    from autorl.report.progress import watching

    out = console()
    with Reader(url) as reader:
        record = reader.study(name)
        expected = digest(reader, name)
        changed = earlier_budgets(reader, name)
    if record.state != "finished":
        raise AutorlError(f"'{name}' is not finished; only a whole study can be compared")
    if record.spec.storage == into or url == into:
        raise AutorlError("name another database: this one holds the study that is to be compared")
    spec, optimizer = record.spec.model_copy(update={"storage": into}), record.spec.optimizer
    if (transfer := optimizer.transfer) is not None and shown(transfer.storage or url) == shown(url):
        # The earlier study stays where it is; the ledger keeps no password.
        beside = optimizer.model_copy(update={"transfer": transfer.model_copy(update={"storage": url})})
        spec = spec.model_copy(update={"optimizer": beside})
    with watching(spec, out) as show, stopping() as asked:
        finished = conduct(spec, show, asked)
    if not finished:
        raise AutorlError("stopped before it was finished; the same command goes on")
    with Reader(into) as reader:
        if digest(reader, name) != expected:
            why = " (its budget was changed on the way, and is known from the beginning there)" if changed else ""
            raise AutorlError(
                f"the results in {into} differ{why}; compare them with: autorl trials {name} --storage {into}"
            )
    out.print(f"Every result and learning curve of '{name}' is the same again.")
