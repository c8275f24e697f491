"""One hash for everything that a study found: what two ledgers must agree on to hold the same study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from autorl.ledger.reader import Reader


def digest(reader: Reader, study: str) -> str:
    """Return the SHA-256 of a study's proposals, results and curves, without times, attempts and machines.

    A study gives the same digest whatever interrupted it, on every database and with every executor.
    """
    record = reader.study(study)
    found = hashlib.sha256()
    _add(found, [{"spec": record.spec_hash, "state": record.state, "winner": record.winner, "front": record.front}])
    trials = reader.trials(study)
    _add(
        found,
        (
            {
                "trial": t.number,
                "origin": t.origin,
                "values": dict(t.config.values),
                "coordinates": dict(t.config.coordinates),
                "recipe": t.recipe.in_folder("").to_dict(),
                "state": t.state,
                "value": t.value,
                "posterior": None if t.posterior is None else asdict(t.posterior),
                "objectives": t.values,
                "verdict": None if t.verdict is None else asdict(t.verdict),
            }
            for t in trials
        ),
    )
    _add(found, ({"proposal": p.number} | asdict(p) for p in reader.proposals(study)))
    finished = ("paused", "completed", "failed")
    _add(
        found,
        (
            {"run": [r.trial, r.phase, r.seed], "state": r.state, "scores": r.scores, "error": r.error_class}
            | {"env_steps": r.env_steps if r.state in finished else None}
            for r in reader.runs(study)
        ),
    )
    for trial in trials:
        for curve in reader.curves(study, [trial.number]):
            points = [[point.env_steps, dict(point.metrics)] for point in curve.points]
            _add(found, [{"run": [curve.run.trial, curve.run.phase, curve.run.seed], "points": points}])
    return found.hexdigest()


def _add(found: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        found.update(json.dumps(row, sort_keys=True).encode() + b"\n")
