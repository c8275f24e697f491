"""A trial as a schedule of hyperparameters, in YAML, for training code of any kind."""

from __future__ import annotations

from typing import Any

from autorl.ledger.records import TrialRecord
from autorl.report.export import header
from autorl.report.export.configuration import dumped
from autorl.report.findings import Findings


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the YAML file: what every stage shares, then the stages, with the environment steps each trains to.

    A stage goes on with what the one before it has learned. Whatever differs between stages is in the stages; what no
    key names has its library's default.
    """
    lineage = trial.recipe.lineage(trial.recipe.env_steps)
    described = [recipe.to_dict() for recipe, _ in lineage]
    stages: list[dict[str, Any]] = [{"until": until} for _, until in lineage]
    content: dict[str, Any] = {}
    keys = ["backend", "algorithm", "env", "env_kwargs", "wrappers", "env_steps", "hyperparameters", "policy"]
    for key in [*keys, *(key for key in ("task_space", "curriculum") if key in described[-1])]:
        values = [recipe.get(key) for recipe in described]
        if all(value == values[0] for value in values):
            content[key] = _plain(values[0])
        else:
            for stage, value in zip(stages, values, strict=True):
                stage[key] = _plain(value)
    comment = "".join(f"# {line}\n" for line in header(findings, trial))
    return comment + dumped({**content, "stages": stages})


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
