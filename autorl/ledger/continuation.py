"""When a study file asks for the study that the ledger holds, and goes on with it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from autorl.errors import StorageError
from autorl.ledger.database import shown, without_passwords
from autorl.spec.study import StudySpec

# What may differ when a study goes on: how it is executed, where it, the user's program and the study that it takes
# configurations from are, how long it may run.
_MAY_CHANGE = (
    "execution",
    "storage",
    "program.folder",
    "budget.trials",
    "budget.env_steps",
    "budget.seconds",
    "budget.target",
    "budget.gain",
)


def spec_hash(spec: StudySpec) -> str:
    """Return the SHA-256 of what decides a study's results."""
    return hashlib.sha256(json.dumps(_deciding(spec), sort_keys=True).encode()).hexdigest()


def _deciding(spec: StudySpec) -> dict[str, Any]:
    data = without_passwords(spec.model_dump(mode="json"))
    for path in _MAY_CHANGE:
        section, _, key = path.partition(".")
        if key:
            (data[section] or {}).pop(key, None)
        else:
            data.pop(section)
    if transfer := data["optimizer"].get("transfer"):
        transfer["storage"] = None  # the key stays, so that the hashes of other studies stay what they were
    return data


def with_max_pending(spec: StudySpec, max_pending: int | None) -> StudySpec:
    """Return the spec with `optimizer.max_pending` fixed, if it leaves it open."""
    if spec.optimizer.max_pending is not None:
        return spec
    return spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"max_pending": max_pending})})


def _with_niches(new: StudySpec, old: StudySpec) -> StudySpec:
    """Return the new spec with the niches of the old one, if both learn from the same study and it has none yet."""
    asked, there = new.curriculum.options, old.curriculum.options
    source = asked.get("learned_from")
    if source is None or asked.get("niches") is not None or source != there.get("learned_from"):
        return new
    known = new.curriculum.model_copy(update={"niches": there["niches"]})
    return new.model_copy(update={"curriculum": known})


def going_on(new: StudySpec, old: StudySpec) -> StudySpec:
    """Return the spec with which an existing study goes on.

    Raises:
        StorageError: the file asks for something else than what the database holds.
    """
    new = _with_niches(with_max_pending(new, old.optimizer.max_pending), old)
    a, b = _deciding(new), _deciding(old)
    different = sorted(key for key in a if a[key] != b[key])
    if different:
        raise StorageError(
            f"study '{new.study}' exists in {shown(new.storage)} with another {', '.join(different)}; "
            f"give this one another name (study=NAME) or another database (storage=sqlite:///other.db)"
        )
    return new
