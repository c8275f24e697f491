"""A translated file: what could be said in autorl's words, and beside it, as comments, what could not."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autorl.spec.load import ADDRESSES
from autorl.spec.parameters import NAME
from autorl.spec.yaml12 import dump, inline, printable

_STUDY = """\
study: {name}

task: {task}

algorithm: {algorithm}
{policy}
# Trials compete on the tuning seeds. The best are trained again on the validation seeds, which choose the winner; the
# winner and the default configuration are trained on the test seeds. The three may not overlap.
seeds: {{tuning: 0:3, validation: 50:53, test: 100:110}}
budget: {{trials: 30, steps_per_run: {steps}}}

{optimizer}
search_space:
{space}"""


@dataclass
class Translation:
    """What became of a file.

    Attributes:
        source: what was translated, for the first line of what is written.
        parameters: name → its entry in a search space.
        remarks: name of a parameter → what of it could not be said.
        lost: what could not be translated at all, a line each, with where it stood.
        env: environment id, where the file says one.
        task: further keys of the task.
        fixed: hyperparameters that have one value.
        policy: the policy's arguments that have one value.
        steps: environment steps of a run.
        enqueue: configurations to try first.
    """

    source: str
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    env: str | None = None
    task: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    steps: int = 50_000
    enqueue: list[dict[str, Any]] = field(default_factory=list)

    def lose(self, where: str, what: str, value: Any, why: str) -> None:
        """Note a line that has no counterpart."""
        self.lost.append(f"{where}: {what}: {inline(value)}: {why}")

    def remark(self, name: str, what: str) -> None:
        """Note what of a parameter could not be said."""
        self.remarks.setdefault(name, []).append(what)

    def name(self, wanted: str) -> str | None:
        """Return the name under which autorl takes a parameter, or None if there is none.

        A dotted name addresses a part of a study; one that addresses none is written with underscores, as is what no
        name has.
        """
        dotted = "." in wanted and not (wanted == ADDRESSES[0] or wanted.startswith(ADDRESSES[1:]))
        name = re.sub(r"[^A-Za-z0-9_.@-]", "_", wanted.replace(".", "_") if dotted else wanted)
        if not re.fullmatch(NAME, name) or name in self.parameters:
            return None
        if name != wanted:
            self.remark(name, f"'{wanted}' there")
        return name

    def space_file(self) -> str:
        """Return the search space as a file of its own; what is enqueued stands in it as a comment, to be copied."""
        text = self._head("Search space") + self._space()
        if self.enqueue:
            text += "\n# For a study on this space:\n" + _commented(dump({"optimizer": {"enqueue": self.enqueue}}))
        return text

    def study_file(self, algorithm: str, env: str) -> str:
        """Return a study of an algorithm in an environment."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{algorithm}-{env.rpartition(':')[2]}").strip("-").lower()
        # What others depend on stays in the space, though it has one value: conditions speak of its parameters.
        parents = {parent for entry in self.parameters.values() for parent in entry.get("when", ())}
        constants = {n: e["values"][0] for n, e in self.parameters.items() if n not in parents and _constant(n, e)}
        fixed = {**constants, **self.fixed}
        # Where its condition does not hold, a parameter has the value that it is fixed to.
        searched = {n: e for n, e in self.parameters.items() if n not in fixed or "when" in e}
        space = Translation(self.source, searched, self.remarks, self.lost)
        optimizer: dict[str, Any] = {"name": "race", "seed": 0}
        if self.enqueue:
            optimizer["enqueue"] = [{k: v for k, v in one.items() if k in searched} for one in self.enqueue]
        body = _STUDY.format(
            name=name,
            task=inline({"env": env, **self.task}),
            algorithm=_section({"name": algorithm, "fixed": fixed}),
            policy=f"policy: {inline(self.policy)}\n" if self.policy else "",
            steps=self.steps,
            optimizer=dump({"optimizer": optimizer}),
            space=textwrap.indent(space._space(), "  "),
        )
        return self._head("Study") + body

    def _head(self, kind: str) -> str:
        lines = [f"{kind} from {self.source}."]
        if self.lost:
            lines += ["Not translated:", *(f"  {lost}" for lost in self.lost)]
        return "".join(f"# {printable(line, 400)}\n" for line in lines)

    def _space(self) -> str:
        if not self.parameters:
            return "parameters: {}\n"
        lines = ["parameters:"]
        for name, entry in self.parameters.items():
            remarks = "; ".join(self.remarks.get(name, ()))
            lines.append(f"  {inline({name: entry})[1:-1]}" + (f"  # {printable(remarks, 400)}" if remarks else ""))
        return "\n".join(lines) + "\n"


def _constant(name: str, entry: Mapping[str, Any]) -> bool:
    """Say whether a parameter has one value, and can be fixed."""
    return "." not in name and len(entry.get("values", ())) == 1 and "when" not in entry and "sets" not in entry


def _section(content: Mapping[str, Any]) -> str:
    """Return a section on one line, or over several with its longest key on the last."""
    line = inline(content)
    return line if len(line) < 100 else "\n" + textwrap.indent(dump(dict(content)), "  ").rstrip()


def _commented(text: str) -> str:
    return "".join(f"# {line}\n" for line in text.splitlines())


def where_seen(
    parameters: Mapping[str, Mapping[str, Any]], seen: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, list[Any]] | None]:
    """Find the conditions of parameters that only some configurations have.

    Args:
        parameters: name → entry; those with few values can be parents.
        seen: configurations, of the parameters that each has.

    Returns:
        Parameter → parent → the values of it with which it was seen, where one parent explains when it is there; None
        where none does. Those that every configuration has are left out.
    """
    found: dict[str, dict[str, list[Any]] | None] = {}
    for name in parameters:
        having = [one for one in seen if name in one]
        if len(having) == len(seen):
            continue
        without = [one for one in seen if name not in one]
        found[name] = None
        for parent, entry in parameters.items():
            if parent == name or "values" not in entry or not all(parent in one for one in seen):
                continue
            there = [value for value in entry["values"] if any(one[parent] == value for one in having)]
            if not any(one[parent] in there for one in without):
                found[name] = {parent: there}
                break
    return found
