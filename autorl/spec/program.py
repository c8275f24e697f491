"""The user's own trainer: a function or a program, and how its evaluations are read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from autorl.spec.section import Spec, as_tuple

STEPS = "env_steps"
"""What a report calls the environment steps trained so far, unless the study says otherwise."""


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _patterns(value: Any) -> Any:
    """Read one regular expression, or a list of them."""
    listed = (value,) if isinstance(value, str) else as_tuple(value)
    for pattern in listed if isinstance(listed, tuple) else ():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return listed


class ReportsSpec(Spec):
    """Where a program's evaluations are read from."""

    format: Literal["json", "csv", "pattern"] = Field(
        default="json",
        description="json: lines that are JSON objects; csv: a header and rows; pattern: lines that a regular "
        "expression finds something in. All other lines are passed over.",
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        description="File that it writes them to, such as {run_folder}/progress.csv; by default its output.",
    )
    env_steps: str = Field(
        default=STEPS, min_length=1, description="Key, column or group that holds the steps trained so far."
    )
    metrics: dict[str, str] = Field(
        default={}, description="Metric → key or column that holds it, where that has another name."
    )
    pattern: Annotated[tuple[str, ...], BeforeValidator(_patterns), WithJsonSchema(_ONE_OR_MORE)] = Field(
        default=(),
        max_length=10,
        description="pattern: regular expressions whose named groups are the steps and the metrics, such as "
        r"'step=(?P<env_steps>\d+) return=(?P<return>\S+)'.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find patterns that are missing, that nothing uses, or that find no metric."""
        if (self.format == "pattern") != bool(self.pattern):
            if self.pattern:
                return [("pattern", f"only 'format: pattern' uses it, this is '{self.format}'")]
            return [("pattern", "give the regular expressions that find steps and metrics in a line")]
        if not self.pattern:
            return []
        if self.env_steps not in self.groups:
            return [("pattern", f"no group is named '{self.env_steps}', the steps trained so far")]
        return []

    @property
    def groups(self) -> set[str]:
        """What the groups of the patterns are named."""
        return {group for pattern in self.pattern for group in re.compile(pattern).groupindex}


class ProgramSpec(Spec):
    """What trains, with the backends function and command."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")] | None = Field(
        default=None, description="Backend function: 'module:train', called as train(config, seed, budget, report)."
    )
    command: str | Annotated[tuple[str, ...], BeforeValidator(as_tuple)] | None = Field(
        default=None,
        min_length=1,
        description="Backend command: the program and its arguments, with placeholders such as {seed}.",
    )
    argument: str = Field(
        default="--{name} {value}",
        min_length=1,
        description="command: what {arguments} becomes for each hyperparameter without a placeholder of its own.",
    )
    folder: str = Field(
        default=".", min_length=1, description="Where it runs and is imported from; relative to this file."
    )
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = Field(
        default={}, description="command: environment variables that it gets, placeholders filled in."
    )
    reports: ReportsSpec = Field(default=ReportsSpec(), description="command: where its evaluations are read from.")
    checkpoint: bool = Field(
        default=False,
        description="Whether it keeps its state in the file {checkpoint} (budget.checkpoint), which it replaces as a "
        "whole, goes on from that file if there is one, and stops at {until} (budget.until) environment steps.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find a trainer that is missing, or that is two."""
        if (self.function is None) == (self.command is None):
            return [("", "give 'function' or 'command', one of them")]
        if self.command is not None:
            return []
        only = ("argument", "variables", "reports")
        fields = type(self).model_fields
        given = [key for key in only if getattr(self, key) != fields[key].default]
        return [(key, "only a command has it; a function calls report(...)") for key in given]
