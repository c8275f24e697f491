"""What it takes to run a study again."""

from __future__ import annotations

import shlex
from typing import Any

from autorl.ledger.database import shown, without_passwords
from autorl.report.export import BACKENDS, fitting
from autorl.report.findings import Findings

_DEFAULT_STORAGE = "sqlite:///autorl.db"


def commands(found: Findings, url: str, file: str) -> str:
    """Return the commands that run a study again, look at it, and take its result out.

    Args:
        found: the study.
        url: its database.
        file: the file that holds the study, as `resolved` writes it.
    """
    name, file = shlex.quote(found.study.name), shlex.quote(file)
    where = "" if url == _DEFAULT_STORAGE else f" --storage {shlex.quote(shown(url))}"
    lines = [
        f"# run it again, from the study saved as {file}, into a new database",
        f"autorl run {file} storage=sqlite:///again.db",
        "# look at what this report was made from",
        f"autorl trials {name}{where}",
    ]
    if found.incumbent is not None and (best := fitting(found.incumbent.recipe.backend)[0]) in BACKENDS:
        lines += [
            "# take the best configuration into your own training code",
            f"autorl export {name} --format {best}{where}",
        ]
    return "\n".join(lines)


def resolved(found: Findings) -> dict[str, Any]:
    """Return the study as a file would say it, every default included; passwords of its databases are left out."""
    return without_passwords(found.spec.written())
