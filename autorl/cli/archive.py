"""Commands that take a study from one machine to another as a file: dump, load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autorl.cli.output import StorageOption, console, find_study


def dump(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or its file.")],
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File to write: study.zip")],
    storage: StorageOption = None,
) -> None:
    """Write a study as one file: its tables as Parquet, the study file, versions and the checklist."""
    from autorl.ledger.reader import Reader
    from autorl.report.archive import write
    from autorl.report.findings import gather

    name, url = find_study(study, storage)
    with Reader(url) as reader:
        found = gather(reader, name)
    write(found, url, archive)
    console().print(f"Wrote {archive}", soft_wrap=True)


def load(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File that `autorl dump` wrote.")],
    storage: StorageOption = None,
) -> None:
    """Bring the study of an archive into a database."""
    from autorl.ledger import archive as archives
    from autorl.ledger.database import shown
    from autorl.ledger.reader import default_url

    url = default_url(storage)
    name = archives.load(archive, url)
    console().print(
        f"Loaded {name} into {shown(url)}. Next:\n  autorl report {name} --storage {shown(url)}", soft_wrap=True
    )
