"""Commands that write files for other tools: export, schema, space."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from autorl.cli.look import write_atomically
from autorl.cli.output import StorageOption, StudyArgument, console, find_study
from autorl.errors import AutorlError


class ExportFormat(enum.StrEnum):
    """Formats of `autorl export`."""

    sb3 = "sb3"
    zoo = "rl-zoo3"
    trl = "trl"
    trl_script = "trl-script"
    schedule = "schedule"


class Document(enum.StrEnum):
    """Documents with a schema."""

    study = "study"
    space = "space"


class SpaceFormat(enum.StrEnum):
    """Formats of search-space files."""

    autorl = "autorl"
    configspace_json = "configspace-json"
    configspace_yaml = "configspace-yaml"


OutOption = Annotated[Path | None, typer.Option(help="File to write, instead of printing.")]


def export(
    study: StudyArgument = None,
    storage: StorageOption = None,
    format: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format",
            help="A plain Stable-Baselines3 script, rl-zoo3's YAML, TRL's, or a schedule's stages as YAML "
            "[default: the first that holds what the study trains].",
        ),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Trial to export [default: the winner, or the incumbent].")] = None,
    out: OutOption = None,
) -> None:
    """Write a trial for your own training code."""
    from autorl.ledger.reader import Reader
    from autorl.report.export import fitting, render
    from autorl.report.findings import gather

    name, url = find_study(study, storage)
    with Reader(url) as reader:
        found = gather(reader, name)
    chosen = found.winner or found.incumbent
    if trial is not None:
        chosen = next((t for t in found.trials if t.number == trial), None)
    if chosen is None:
        raise AutorlError(
            f"'{name}' has no trial {trial}" if trial is not None else f"no trial of '{name}' has finished yet"
        )
    best = fitting(chosen.recipe.backend)[0] if format is None else format.value
    _deliver(render(found, chosen, best), out)


def schema(document: Annotated[Document, typer.Argument(help="Which file.")] = Document.study) -> None:
    """Print the JSON Schema of study files or search-space files, for editors to complete from."""
    from autorl.spec.schema import json_schema

    print(json.dumps(json_schema(document.value), indent=2))


def space(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Search-space file of autorl, or ConfigSpace's JSON or YAML.")
    ],
    to: Annotated[SpaceFormat, typer.Option("--to", help="Format to convert to.")] = SpaceFormat.configspace_json,
    out: OutOption = None,
) -> None:
    """Convert a search space from or to ConfigSpace."""
    from autorl.spec import configspace
    from autorl.spec.load import load_space
    from autorl.spec.schema import space_to_dict
    from autorl.spec.yaml12 import dump

    loaded = load_space(file)
    if to is SpaceFormat.autorl:
        text = dump(space_to_dict(loaded))
    else:
        data = configspace.to_configspace(loaded, file.stem).to_serialized_dict()
        text = json.dumps(data, indent=2) + "\n" if to is SpaceFormat.configspace_json else dump(data)
    _deliver(text, out)


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
        return
    write_atomically(out, text)
    console().print(f"Wrote {out}")
