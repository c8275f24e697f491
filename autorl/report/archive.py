"""A study as one file: the ledger's tables, and what somebody reads who has no autorl."""

from __future__ import annotations

from pathlib import Path

from autorl.ledger import archive
from autorl.report.checklist import checklist, markdown
from autorl.report.findings import Findings
from autorl.report.reproduce import resolved
from autorl.spec.yaml12 import dump

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


def write(found: Findings, url: str, file: Path) -> None:
    """Write the archive of a study; `autorl.ledger.archive.load` brings it into a database.

    Args:
        found: the study.
        url: of its database.
        file: to be written.

    Raises:
        StorageError: the study is in training, or the file cannot be written.
    """
    name = found.study.name
    documents = {
        "README.md": _ABOUT.format(study=name),
        "study.yaml": dump(resolved(found)),
        "checklist.md": markdown(checklist(found), name),
    }
    archive.dump(url, name, file, documents)
