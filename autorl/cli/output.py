"""How commands print: tables for people, JSON, CSV or YAML for programs, and which study is meant."""

from __future__ import annotations

import csv
import enum
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autorl.errors import AutorlError

if TYPE_CHECKING:
    from rich.console import Console


class Format(enum.StrEnum):
    """How a list is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    yaml = "yaml"


StudyArgument = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="Name of a study, or its file; not needed if there is only one.")
]
StorageOption = Annotated[
    str | None, typer.Option(help="Database URL (default: $AUTORL_STORAGE, or sqlite:///autorl.db).")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]


def console() -> Console:
    """Return the console for standard output."""
    from rich.console import Console

    return Console(highlight=False)


def find_study(study: str | None, storage: str | None) -> tuple[str, str]:
    """Return the name and database of the study that is meant.

    Args:
        study: a name, a study file, or None for the only study in the database.
        storage: the database, or None for the file's, the environment's, or the default.

    Raises:
        AutorlError: nothing, or more than one study, fits.
    """
    if study is not None and study.endswith((".yaml", ".yml")):
        from autorl.spec.load import load_study

        spec = load_study(Path(study))
        return spec.study, storage or spec.storage
    from autorl.ledger.database import shown
    from autorl.ledger.reader import Reader, default_url

    url = default_url(storage)
    if study is not None:
        return study, url

    with Reader(url) as reader:
        names = [record.name for record in reader.studies()]
    if not names:
        raise AutorlError(f"{shown(url)} holds no study yet; start one with: autorl run FILE")
    if len(names) > 1:
        raise AutorlError(f"{shown(url)} holds {len(names)} studies; name one: {', '.join(names)}")
    return names[0], url


def emit(data: Any, how: Format) -> None:
    """Print rows (a list of flat mappings) or one mapping as JSON, CSV or YAML."""
    if how is Format.json:
        print(json.dumps(data, indent=2))
    elif how is Format.yaml:
        from autorl.spec.yaml12 import dump

        print(dump(data), end="")
    else:
        rows: Sequence[Mapping[str, Any]] = data if isinstance(data, list) else [data]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(sys.stdout, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()})
