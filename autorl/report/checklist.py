"""The checklist of *Hyperparameters in Reinforcement Learning and How To Tune Them*, filled in for a study.

Eimer, Lindauer and Raileanu (2023, arXiv 2306.01324), appendix: what a paper whose results were tuned has to say. What
a ledger cannot know (links, other studies) is left to its reader, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autorl.report.findings import Findings
from autorl.report.words import hardware, number, setting
from autorl.spec.space import Choice, Parameter

TO_FILL_IN = "to be filled in"


@dataclass(frozen=True)
class Item:
    """One item of the checklist.

    Attributes:
        asked: what it asks.
        answer: what the study answers.
        holds: whether the answer is a yes, for those that ask for one.
        details: what belongs to the answer, one a line.
    """

    asked: str
    answer: str = ""
    holds: bool | None = None
    details: tuple[str, ...] = ()


def checklist(found: Findings) -> list[Item]:
    """Return the filled-in items, in the paper's order."""
    spec, study = found.spec, found.study
    tested = found.headline is not None
    on_test = "yes" if tested else "not yet: the test runs of winner and default are not complete"
    version = study.versions.get("autorl", "")
    versions = tuple(f"{name} {installed}" for name, installed in study.versions.items())
    best = found.winner or found.incumbent
    configuration: tuple[str, ...] = ()
    if best is not None:
        configuration = tuple(f"{name}: {setting(value)}" for name, value in best.config.values.items())
    return [
        Item("Are there training and test settings?", "yes: seeds", True),
        Item("Is only the training setting used for training?", "yes: no evaluation episode is one trained on", True),
        Item("Is only the training setting used for tuning?", "yes: tuning, validation and test seeds are apart", True),
        Item("Are final results reported on the test setting?", on_test, tested),
        Item("Package and optimization method", f"autorl {version}, {spec.optimizer.name}"),
        Item("Configuration space", spec.algorithm.name, details=tuple(map(_range, spec.space))),
        Item("Do algorithms that share hyperparameters share their ranges?", f"one study: {TO_FILL_IN}"),
        Item("Cost metric", f"{found.objective}, {spec.objective.direction}d"),
        Item("Tuning budget", _budget(found)),
        Item("Was the tuning budget the same for all methods?", f"one study: {TO_FILL_IN}"),
        Item(
            "If the budget is given in time, is the hardware comparable?",
            *_hardware(found),
        ),
        Item("Were all methods tuned as described above?", f"one study: {TO_FILL_IN}"),
        Item("Tuning seeds", _seeds(spec.seeds.tuning)),
        Item("Validation seeds, which choose the winner", _seeds(spec.seeds.validation)),
        Item("Test seeds", _seeds(spec.seeds.test)),
        Item("Are all results reported on the test seeds?", on_test, tested),
        Item(
            "Final configuration" if found.winner else "Best configuration so far",
            "none yet" if best is None else f"trial {best.number}",
            details=configuration,
        ),
        Item("Link to the code", TO_FILL_IN),
        Item("Does the code include the tuning process?", "yes: the study file and `autorl run`", True),
        Item("Exact software environment", "versions that the study ran with", details=versions),
        Item("Hardware", hardware(study.hardware)),
    ]


def _hardware(found: Findings) -> tuple[str, bool | None]:
    spec = found.spec
    if spec.budget.seconds is None:
        return "not given in time", True
    if spec.execution.executor == "ray" and spec.execution.address is not None:
        return f"a Ray cluster, of which one machine is described below: {TO_FILL_IN}", None
    return "one machine, see below", True


def _range(parameter: Parameter) -> str:
    domain = parameter.domain
    where = "".join(
        f", if {parent} is {' or '.join(setting(value) for value in values)}" for parent, values in parameter.when
    )
    if isinstance(domain, Choice):
        return f"{parameter.name}: {{{', '.join(setting(value) for value in domain.values)}}}{where}"
    if parameter.transform == "power_of_two":
        low, high = (setting(parameter.value(end)) for end in (domain.low, domain.high))
        return f"{parameter.name}: powers of 2 in [{low}, {high}]{where}"
    # The scale is that of the search: of a transformed hyperparameter it is not that of the value.
    turned = parameter.transform == "one_minus"
    name = f"1 - {parameter.name}" if turned else parameter.name
    low, high = (setting(end if turned else parameter.value(end)) for end in (domain.low, domain.high))
    ends = f"[{low}, {high}]" if domain.integer or domain.step else f"({low}, {high})"
    return f"{name}: {f'log({ends})' if domain.log else ends}{where}"


def _budget(found: Findings) -> str:
    budget = found.spec.budget
    parts = [f"{budget.trials} trials"] if budget.trials else []
    parts += [f"{budget.env_steps:,} environment steps"] if budget.env_steps else []
    parts += [f"{number(budget.seconds)} seconds"] if budget.seconds else []
    spent = found.spent["tuning"]["env_steps"]
    return f"{' or '.join(parts)}, {budget.steps_per_run:,} environment steps a run; {spent:,.0f} were spent on tuning"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)}: {', '.join(map(str, seeds))}" if seeds else "none"


def markdown(items: Sequence[Item], name: str) -> str:
    """Return the checklist in Markdown."""
    lines = [f"# Checklist of {_escaped_markdown(name)}", ""]
    for place, item in enumerate(items, 1):
        mark = "" if item.holds is None else " ✓" if item.holds else " ✗"
        lines.append(f"{place}. **{item.asked}**{mark} {_escaped_markdown(item.answer)}".rstrip())
        lines += [f"    - {_escaped_markdown(detail)}" for detail in item.details]
    return "\n".join(lines) + "\n"


def tex(items: Sequence[Item], name: str) -> str:
    """Return the checklist as a section in LaTeX that needs no package."""
    lines = [rf"\section*{{Checklist of {_escaped_tex(name)}}}", r"\begin{enumerate}"]
    for item in items:
        mark = "" if item.holds is None else " [yes]" if item.holds else " [no]"
        lines.append(rf"  \item \textbf{{{_escaped_tex(item.asked)}}}{mark} {_escaped_tex(item.answer)}".rstrip())
        if item.details:
            details = [rf"    \item \texttt{{{_escaped_tex(detail)}}}" for detail in item.details]
            lines += [r"  \begin{itemize}", *details, r"  \end{itemize}"]
    return "\n".join([*lines, r"\end{enumerate}"]) + "\n"


FORMATS: dict[str, Callable[[Sequence[Item], str], str]] = {".md": markdown, ".tex": tex}
"""File ending → how the checklist is written."""
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{special: f"\\{special}" for special in "&%$#_{}"},
}


def _escaped_tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def _escaped_markdown(text: str) -> str:
    """Escape what Markdown would read as markup, code between backticks excepted."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]#|])", r"\\\1", part) for part in parts)
