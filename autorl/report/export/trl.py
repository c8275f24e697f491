"""A trial as a configuration of TRL's command line: `trl grpo --config FILE`."""

from __future__ import annotations

from typing import Any

import yaml

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header, unable
from autorl.report.findings import Findings
from autorl.training.llm.recipe import settings
from autorl.training.llm.trl_options import missing, missing_in_plain_trl, options


def arguments(findings: Findings, trial: TrialRecord, format_name: str) -> dict[str, Any]:
    """Return what plain TRL's `GRPOConfig` is given to train a trial's recipe.

    Raises:
        ExportError: the trial is a schedule, or its recipe has parts for which TRL has no word.
    """
    recipe = trial.recipe
    if recipe.start is not None:
        raise unable(findings, trial, format_name, "an option of TRL has one value")
    own = settings(recipe.algorithm, recipe.hyperparameters)
    if lacking := [*missing(own, recipe.policy), *missing_in_plain_trl(own)]:
        raise ExportError(f"trial {trial.number} cannot be written for TRL: {'; '.join(lacking)}")
    return options(own, recipe.env_steps)


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the YAML file.

    Raises:
        ExportError: the trial is a schedule, or its recipe has parts for which TRL has no word.
    """
    recipe = trial.recipe
    entry: dict[str, Any] = {}
    given = arguments(findings, trial, "trl")
    if "model" in recipe.policy:
        entry["model_name_or_path"] = recipe.policy["model"]
    if rank := recipe.policy.get("lora_rank"):
        entry |= {"use_peft": True, "lora_r": rank, "lora_alpha": 2 * rank, "lora_target_modules": "all-linear"}
    entry |= given
    lines = [
        *header(findings, trial),
        "Train: trl grpo --config THIS_FILE --dataset_name DATASET --reward_funcs MODULE.FUNCTION --output_dir DIR"
        + ("" if "model" in recipe.policy else " --model_name_or_path MODEL"),
    ]
    if recipe.task_space is not None and recipe.curriculum is not None:
        varies = ", ".join(recipe.task_space["parameters"])
        lines.append(
            f"Left out: the curriculum ({recipe.curriculum['kind']} over {varies}), since the data set says what is "
            "trained on. As data: --format schedule."
        )
    if "model" not in recipe.policy:
        lines.append("The study trained a small model of its own: look at the learning rate again for a larger one.")
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(entry, sort_keys=False)
