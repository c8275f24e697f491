"""Placeholders of a command, and what is wrong with a study's use of the user's own trainer."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autorl.errors import did_you_mean
from autorl.spec.objectives import LATENCY
from autorl.spec.space import SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.metrics import asked_metrics
from autorl.trial import Recipe

PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.@-]*)\}")
ARGUMENTS = "arguments"
RESERVED = {
    "seed": "the run's seed",
    "env": "task.env",
    "algorithm": "algorithm.name",
    "env_steps": "environment steps of a full run",
    "until": "the environment steps to stop at",
    "evaluation_steps": "environment steps between two evaluations",
    "evaluation_episodes": "episodes of an evaluation",
    "run_folder": "a folder of the run's own, removed afterwards",
    "checkpoint": "the file to keep it in",
    "python": "the Python that runs autorl",
}


@dataclass(frozen=True)
class Launch:
    """One call of the program, and what its placeholders stand for.

    Attributes:
        recipe: what is trained.
        seed: with which seed.
        until: environment steps after which it is stopped.
        folder: of the run.
        checkpoint: file for its state.
    """

    recipe: Recipe
    seed: int
    until: int
    folder: Path
    checkpoint: Path

    @property
    def own(self) -> dict[str, Any]:
        """Placeholder → value, of those that are the run's and not a parameter's."""
        return {
            "seed": self.seed,
            "env": self.recipe.env,
            "algorithm": self.recipe.algorithm,
            "env_steps": self.recipe.env_steps,
            "until": self.until,
            "evaluation_steps": self.recipe.points[0],
            "evaluation_episodes": self.recipe.evaluation_episodes,
            "run_folder": self.folder,
            "checkpoint": self.checkpoint,
            "python": sys.executable,
        }

    @property
    def values(self) -> dict[str, Any]:
        """Placeholder → value."""
        return {**settings(self.recipe), **self.own}


def settings(recipe: Recipe) -> dict[str, Any]:
    """Return what a recipe sets: hyperparameters; under dotted keys the policy's and the environment's arguments."""
    return {
        **recipe.hyperparameters,
        **{f"policy.{key}": value for key, value in recipe.policy.items()},
        **{f"task.env_kwargs.{key}": value for key, value in recipe.env_kwargs.items()},
    }


def command_line(launch: Launch) -> list[str]:
    """Return the program and its arguments, every placeholder filled in.

    An argument whose placeholder has no value (a parameter that is not active, or whose default is the program's own)
    is left out, with the option before it. So is {arguments} where there are none, but for the option before it if the
    arguments are options themselves: then that is a switch.
    """
    program, values = launch.recipe.program or {}, launch.values
    words = split(program["command"])
    used = {name for word in words for name in PLACEHOLDER.findall(word)}
    others = [
        fill(part, {"name": name, "value": value})
        for name, value in settings(launch.recipe).items()
        if name not in used
        for part in split(program["argument"])
    ]
    line: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        names = PLACEHOLDER.findall(word)
        given = others if names == [ARGUMENTS] else [fill(word, values)] if values.keys() >= set(names) else []
        switch = names == [ARGUMENTS] and split(program["argument"])[0].startswith(("-", "+"))
        option = before.startswith("-") and "=" not in before and values.keys() >= set(PLACEHOLDER.findall(before))
        if not given and not switch and option:
            line.pop()
        line += given
    return line


def variables(launch: Launch) -> dict[str, str]:
    """Return the environment variables that a program gets beside the engine's own: the study's, and the run's."""
    values, own = launch.values, launch.own
    given = {
        name: fill(text, values)
        for name, text in (launch.recipe.program or {})["variables"].items()
        if all(key in values for key in PLACEHOLDER.findall(text))
    }
    return {**{f"AUTORL_{name.upper()}": str(value) for name, value in own.items()}, "PYTHONUNBUFFERED": "1", **given}


def split(command: str | tuple[str, ...] | list[str]) -> list[str]:
    """Return the words of a command, as a shell would; nothing in them is expanded.

    Raises:
        ValueError: a quotation has no end.
    """
    return shlex.split(command) if isinstance(command, str) else list(command)


def wrong_words(sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Find placeholders that stand for nothing, and hyperparameters that the command does not use."""
    program = sections["program"]
    try:
        words = split(program.command)
        split(program.argument)
    except ValueError as error:
        yield ("program", "command"), f"{error}: a quotation has no end"
        return
    yield from _wrong_argument(program.argument)
    searched, fixed = _set(sections)
    known = {*searched, *fixed, *RESERVED, ARGUMENTS}
    texts: list[tuple[Key, str]] = [(("program", "command"), word) for word in words]
    texts += [(("program", "variables", name), text) for name, text in program.variables.items()]
    if program.reports.file is not None:
        texts.append((("program", "reports", "file"), program.reports.file))
    used = {name for _, text in texts for name in PLACEHOLDER.findall(text)}
    for place, text in texts:
        names = PLACEHOLDER.findall(text)
        for name in names:
            if name not in known:
                yield place, f"{{{name}}} is no parameter and no placeholder{did_you_mean(name, known)}"
        if ARGUMENTS in names and text != f"{{{ARGUMENTS}}}":
            yield place, "{arguments} becomes several words, so it has to stand alone"
    budget, evaluation = sections.get("budget"), sections.get("evaluation")
    points = 1 if evaluation is None else evaluation.points
    if "evaluation_steps" in used and budget is not None and budget.steps_per_run % points:
        yield (
            ("evaluation", "points"),
            f"{points} points are not as many of {budget.steps_per_run:,} steps apart, which "
            "{evaluation_steps} is to be: choose points that divide budget.steps_per_run",
        )
    execution = sections.get("execution")
    together = execution is not None and execution.workers != 1 and execution.executor != "inline"
    if together and _shared(program.reports.file, searched):
        yield (
            ("program", "reports", "file"),
            "runs that train at the same time would all write to it: put {run_folder} into its name and into the "
            "command, or set execution.workers=1",
        )
    for name in sorted({*searched, *fixed} & {*RESERVED, ARGUMENTS} & used):
        meant = RESERVED.get(name, "all parameters that the command does not name")
        at: Key = ("search_space", "parameters", name) if name in searched else ("algorithm", "fixed", name)
        yield at, f"{{{name}}} is {meant}, so that the command never gets this one: give it another name"
    if used <= known:
        yield from _unused(program, used, searched, fixed)


def _shared(file: str | None, searched: set[str]) -> bool:
    """Say whether a file of reports may be that of several runs."""
    names = set(PLACEHOLDER.findall(file or ""))
    return file is not None and not names & {"run_folder", "checkpoint"} and not names >= {"seed", *searched}


def _wrong_argument(argument: str) -> Iterator[tuple[Key, str]]:
    named = PLACEHOLDER.findall(argument)
    for name in ("name", "value"):
        if name not in named:
            yield ("program", "argument"), f"'{argument}' has no {{{name}}}"
    for name in named:
        if name not in ("name", "value"):
            yield ("program", "argument"), f"{{{name}}} has no place in it, only {{name}} and {{value}}"


def _set(sections: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the keys that a study's configurations set, and those that the study sets itself."""
    space_spec, algorithm, policy, task = (sections.get(k) for k in ("search_space", "algorithm", "policy", "task"))
    space: SearchSpace = space_spec.space() if space_spec is not None else SearchSpace()
    fixed = set(algorithm.fixed) if algorithm is not None else set()
    if policy is not None:
        fixed |= {f"policy.{key}" for key in policy.model_dump(exclude_none=True)}
    if task is not None:
        fixed |= {f"task.env_kwargs.{key}" for key in task.env_kwargs}
    return {parameter.sets for parameter in space if parameter.sets != "algorithm.name"}, fixed


def _unused(program: Any, used: set[str], searched: set[str], fixed: set[str]) -> Iterator[tuple[Key, str]]:
    # One that is told of neither reads both from its environment.
    told = used & {"checkpoint", "until"} if program.checkpoint else set()
    for name in {"checkpoint", "until"} - told if told else ():
        yield (
            ("program", "checkpoint"),
            f"a program that keeps its state has to be told of {{{name}}} too, {RESERVED[name]}: put it into its "
            "arguments or variables",
        )
    for name in () if ARGUMENTS in used else sorted({*searched, *fixed} - used):
        at: Key = ("search_space", "parameters", name) if name in searched else ("program", "command")
        yield at, f"the command does not use it: put {{{name}}} into it, or {{arguments}} for all that it does not name"


def wrong_metrics(sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Find metrics that no pattern finds, and one that only other backends measure."""
    program = sections.get("program")
    if program is None:
        return
    groups = program.reports.groups
    for place, metric in asked_metrics(sections):
        if metric == LATENCY:
            yield place, f"'{LATENCY}' is measured by backend sb3; report a metric of another name"
        elif groups and (program.reports.metrics.get(metric, metric)) not in groups:
            yield place, f"no group of program.reports.pattern is named '{metric}'{did_you_mean(metric, groups)}"


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Return a text with a value in the place of each placeholder."""
    # Hydra, whose words begin so, has a word of its own for nothing; None would be text.
    nothing = "null" if text.startswith("+") else "None"
    return PLACEHOLDER.sub(lambda match: nothing if values[match[1]] is None else str(values[match[1]]), text)
