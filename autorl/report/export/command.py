"""A trial of backend `command` as a shell script: the program, with the configuration in its arguments."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from autorl.ledger.records import TrialRecord
from autorl.report.export import header, unable
from autorl.report.findings import Findings
from autorl.training.program.words import Launch, command_line, variables

_SEED = 7_274_857_126  # stands for the seed until the words are quoted; no study's hyperparameter is this number


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the script; its argument is the seed.

    Raises:
        ExportError: the trial is a schedule.
    """
    recipe, program = trial.recipe, trial.recipe.program or {}
    if recipe.start is not None:
        raise unable(findings, trial, "command", "its arguments have one value")
    folder = Path(f"{findings.study.name}-trial{trial.number}")
    launch = Launch(recipe, _SEED, recipe.env_steps, folder, folder / "checkpoint")
    words = ["python" if word == sys.executable else word for word in command_line(launch)]
    given = {name: value for name, value in variables(launch).items() if name in program["variables"]}
    line = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in given.items()), shlex.join(words)])
    first = findings.spec.seeds.test[0]
    about_it = [*header(findings, trial), f"Run it: sh THIS_FILE [SEED], by default {first}."]
    lines = ["#!/bin/sh", *(f"# {said}" for said in about_it), "set -eu", f"cd {shlex.quote(program['folder'])}"]
    if str(folder) in line:
        lines.append(f"mkdir -p {folder}")
    return "\n".join([*lines, line.replace(str(_SEED), f'"${{1:-{first}}}"'), ""])
