"""Commands that take a study from one machine to another as a file: dump, load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autorl.cli.output import StorageOption, console, find_study

_ABOUT = """\
# {study}

A study of hyperparameters by autorl, dumped with everything that it found. `autorl load FILE` brings it into a
database, where reports, exports and the dashboard read it. Without autorl, with pandas:

- `evaluations.parquet`: the learning curves, a row for each evaluation: trial, phase (tuning, validation, test), seed,
  environment steps, seconds, metrics.
- `trials.parquet`: the configurations (`params`, JSON), their scores on the tuning seeds, and the whole recipe.
- `runs.parquet`: each configuration on each seed: score, steps, seconds, failures.
- `study.parquet`, `proposals.parquet`, `events.parquet`: the study's state, versions and hardware; what was proposed
  when, and on what knowledge; what happened.
- `study.yaml`: the study as `autorl run` takes it. `checklist.md`: how its results were tuned, for a paper.
- `manifest.json`: versions, and a hash of every file.
"""


def dump(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or its file.")],
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File to write: study.zip")],
    storage: StorageOption = None,
) -> None:
    """Write a study as one file: its tables as Parquet, the study file, versions and the checklist."""
    from autorl.ledger import archive as archives
    from autorl.ledger.reader import Reader
    from autorl.report import checklist as lists
    from autorl.report.findings import gather
    from autorl.report.reproduce import resolved
    from autorl.spec.yaml12 import dump as dump_yaml

    name, url = find_study(study, storage)
    with Reader(url) as reader:
        found = gather(reader, name)
    documents = {
        "README.md": _ABOUT.format(study=name),
        "study.yaml": dump_yaml(resolved(found)),
        "checklist.md": lists.markdown(lists.checklist(found), name),
    }
    archives.dump(url, name, archive, documents)
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
