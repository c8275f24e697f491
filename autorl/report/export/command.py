"""A trial of backend `command` as a shell script: the program, with the configuration in its arguments."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from autorl.ledger.records import TrialRecord
from autorl.report.export import header, unable
from autorl.report.findings import Findings
from autorl.training.program.words import Launch, command_line, variables

_SEED = "7274857126"  # stands for the seed until the words are quoted; no study's hyperparameter is this number


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the script; its argument is the seed.

    Raises:
        ExportError: the trial is a schedule.
    """
    recipe, program = trial.recipe, trial.recipe.program or {}
    if recipe.start is not None:
        raise unable(findings, trial, "command", "its arguments have one value")
    folder = Path(f"{findings.study.name}-trial{trial.number}")
    launch = Launch(recipe, int(_SEED), recipe.env_steps, folder, folder / "checkpoint")
    first = findings.spec.seeds.test[0]

    def quoted(word: str) -> str:
        if word == sys.executable:
            return "python"
        return f'"${{1:-{first}}}"'.join(shlex.quote(part) if part else "" for part in word.split(_SEED)) or "''"

    about_it = [*header(findings, trial), f"Run it: sh THIS_FILE [SEED], by default {first}."]
    lines = ["#!/bin/sh", *(f"# {said}" for said in about_it), "set -eu", f"cd {shlex.quote(program['folder'])}"]
    lines.append(f"mkdir -p {folder}")
    lines += [f"export {name}={quoted(value)}" for name, value in variables(launch).items()]
    return "\n".join([*lines, " ".join(map(quoted, command_line(launch))), ""])
