"""Problems that are solved in several turns, with a tool that answers in between."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from autorl.errors import did_you_mean
from autorl.training.llm.families import check_levels, slip
from autorl.training.llm.problems import Problem

TURN = "?"
"""What the model ends a call of the tool with."""
_REFUSED = "!"


def calculator(rng: random.Random, level: int) -> tuple[str, tuple[str, ...], str]:
    """Add so many numbers of three digits, with a tool that adds two; its steps are the calls."""
    numbers = [rng.randrange(100, 1000) for _ in range(level)]
    calls, total = [], numbers[0]
    for number in numbers[1:]:
        calls.append(f"{total}+{number}")
        total += number
    return f"C{'+'.join(map(str, numbers))}=", tuple(calls), str(total)


def lookup(rng: random.Random, level: int) -> tuple[str, tuple[str, ...], str]:
    """Follow so many entries of a table of ten digits that the tool alone can see; its steps are the calls."""
    name, at = f"{rng.randrange(10**4):04}", rng.randrange(10)
    prompt, calls = f"L{name}>{at}:{level}=", []
    for _ in range(level):
        calls.append(str(at))
        at = _table(prompt)[at]
    return prompt, tuple(calls), str(at)


def _table(prompt: str) -> Sequence[int]:
    digits = list(range(10))
    random.Random(prompt[1:5]).shuffle(digits)  # noqa: S311 - nobody has an interest in guessing it
    return digits


def _added(prompt: str, call: str) -> str:
    numbers = re.fullmatch(r"(\d{1,6})\+(\d{1,6})", call)
    return str(int(numbers[1]) + int(numbers[2])) if numbers else _REFUSED


def _found(prompt: str, call: str) -> str:
    return str(_table(prompt)[int(call)]) if re.fullmatch(r"\d", call) else _REFUSED


Family = Callable[[random.Random, int], tuple[str, tuple[str, ...], str]]
FAMILIES: Mapping[str, tuple[Family, Callable[[str, str], str]]] = {
    "calculator": (calculator, _added),
    "lookup": (lookup, _found),
}
"""Family → how a problem is drawn, and what the tool answers to a call."""
SUITE: Mapping[str, Sequence[int]] = {"calculator": (2, 3), "lookup": (2, 3, 4)}


class Tools:
    """Problems of some families and levels, solved in turns: call `?` reply `;` and so on, `#`, the answer.

    Args:
        families: family → its levels.
    """

    characters = "0123456789+=>:;#?!CL"
    turn = TURN

    def __init__(self, families: Mapping[str, Sequence[int]]) -> None:
        for name, levels in families.items():
            if name not in FAMILIES:
                raise ValueError(f"unknown family '{name}'{did_you_mean(name, FAMILIES)}")
            check_levels(name, levels, 2)
        self.categories = [f"{name}/{level}" for name, levels in families.items() for level in levels]
        if not self.categories:
            raise ValueError("no family is asked for")

    def draw(self, category: str, rng: random.Random) -> Problem:
        """Draw a problem; see `Task.draw`."""
        name, level = category.split("/")
        return Problem(category, *FAMILIES[name][0](rng, int(level)))

    def reply(self, problem: Problem, transcript: str) -> str:
        """Return what the tool answers to the call that a transcript ends with; see `Interactive.reply`."""
        call = transcript.rpartition(";")[2].removesuffix(TURN)
        return FAMILIES[problem.category.split("/")[0]][1](problem.prompt, call) + ";"

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        """Return a transcript: digits of calls slip with the noise's probability; twice as often the tool is not asked.

        After a slip, the demonstration goes on from what the tool has answered.
        """
        if noise and rng.random() < 2 * noise:
            return f"#{slip(problem.answer, rng, noise)}"
        written, result = "", ""
        for call in problem.steps:
            rest = call.partition("+")[2]
            given = call if not result else (f"{result}+{rest}" if rest else result)
            written += slip(given, rng, noise) + TURN
            answered = self.reply(problem, written)
            written, result = written + answered, answered.removesuffix(";")
        return f"{written}#{result}"

    def reward(self, problem: Problem, completion: str) -> float:
        """Return 1 if what follows the last `#` is the answer, else 0."""
        _, mark, answer = completion.rpartition("#")
        return float(bool(mark) and answer == problem.answer)

    def flaw(self, problem: Problem, completion: str) -> float:
        """Return the share of calls that the tool refused, or 1 if it was not asked; see `Inspected.flaw`."""
        calls = completion.count(TURN)
        return completion.count(f"{TURN}{_REFUSED}") / calls if calls else 1.0
