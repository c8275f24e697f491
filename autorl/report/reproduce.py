"""What it takes to run a study again."""

from __future__ import annotations

import re
import shlex
from typing import Any

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
    where = "" if url == _DEFAULT_STORAGE else f" --storage {shlex.quote(without_password(url))}"
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
    """Return the study as a file would say it, every default included; a password in its storage is left out."""
    data: dict[str, Any] = found.spec.model_dump(mode="json")
    # Of a parameter's keys only those that were given say anything: a range has no values, and choices have no range.
    data["search_space"] = found.spec.model_dump(mode="json", exclude_defaults=True)["search_space"]
    data["storage"] = without_password(found.spec.storage)
    if transfer := data["optimizer"].get("transfer"):
        transfer["storage"] = transfer["storage"] and without_password(transfer["storage"])
    return data


def without_password(url: str) -> str:
    """Return a database URL that can be shown."""
    url = re.sub(r"(://[^:@/]*):[^@]*@", r"\1@", url)
    return re.sub(r"([?&](?:password|sslpassword)=)[^&]*", r"\1…", url)
