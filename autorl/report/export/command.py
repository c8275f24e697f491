"""A trial of backend `command` as a shell script: the program, with the configuration in its arguments."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from autorl.ledger.records import TrialRecord
from autorl.report.export import header, unable
from autorl.report.findings import Findings
from autorl.training.program.words import Launch, command_line, variables

# Stand for the seed and the run's folder until the words are quoted; nothing that a study says is one of them.
_SEED, _RUN = "7274857126", "/5561237840"
_STANDS = re.compile(f"({_SEED}|{_RUN})")
# The program's own variables may well be SEED and RUN.
_NAMES = {_SEED: '"$_autorl_seed"', _RUN: '"$_autorl_run"'}


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the script; its argument is the seed.

    Raises:
        ExportError: the trial is a schedule.
    """
    recipe, program = trial.recipe, findings.spec.program
    assert program is not None
    if recipe.start is not None:
        raise unable(findings, trial, "command", "its arguments have one value")
    launch = Launch(recipe, int(_SEED), recipe.env_steps, Path(_RUN), Path(_RUN) / "checkpoint")
    first = findings.spec.seeds.test[0]
    about_it = [*header(findings, trial), f"Run it: sh THIS_FILE [SEED], by default {first}."]
    name = shlex.quote(f"{findings.study.name}-trial{trial.number}-seed")
    lines = [
        "#!/bin/sh",
        *(f"# {said}" for said in about_it),
        "set -eu",
        f'_autorl_seed="${{1:-{first}}}"',
        f"cd {shlex.quote(program.folder)}",
        f'_autorl_run="$PWD"/{name}"$_autorl_seed"',
        "# A run in the folder of another would go on from its state.",
        'if [ -e "$_autorl_run" ]; then',
        '  echo "$_autorl_run is of an earlier run: remove it to run this seed again" >&2; exit 1',
        "fi",
        'mkdir "$_autorl_run"',
        *(f"export {variable}={_quoted(value)}" for variable, value in variables(launch).items()),
        " ".join(map(_quoted, command_line(launch))),
    ]
    return "\n".join([*lines, ""])


def _quoted(word: str) -> str:
    if word == sys.executable:
        return "python"
    return "".join(_NAMES.get(part) or (shlex.quote(part) if part else "") for part in _STANDS.split(word)) or "''"
