"""The application and how it ends: a user's mistake exits 2 with one clear message, Ctrl-C exits 130."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autorl.cli import archive, control, files, look, storage, study
from autorl.errors import AutorlError, SpecError

app = typer.Typer(
    name="autorl",
    help="Hyperparameter optimization for reinforcement learning that says how far its number can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        from autorl import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tune reinforcement learning on tuning seeds, and report what the winner is worth on test seeds."""


app.add_typer(storage.app, name="storage")
for command in (
    study.init,
    study.validate,
    study.run,
    control.stop,
    control.retry,
    control.watch,
    control.track,
    look.status,
    look.best,
    look.trials,
    study.test,
    control.replay,
    look.report,
    look.compare,
    files.export,
):
    app.command()(command)
app.command("import")(files.import_)
app.command()(archive.dump)
app.command()(archive.load)
app.command()(look.dashboard)
app.command()(files.schema)
app.command()(files.space)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except SpecError as error:
        count = len(error.problems)
        print(error, file=sys.stderr)
        if count > 1:
            print(f"{count} problems; nothing was started.", file=sys.stderr)
        sys.exit(2)
    except AutorlError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
