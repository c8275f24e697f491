"""Families of problems with levels, that a small model can learn."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from autorl.errors import did_you_mean
from autorl.training.llm.problems import Problem

Family = Callable[[random.Random, int], tuple[str, tuple[str, ...], str]]


def sort(rng: random.Random, level: int) -> tuple[str, tuple[str, ...], str]:
    """Sort so many digits."""
    digits = [rng.randrange(10) for _ in range(level)]
    return f"S{_joined(digits)}=", (), _joined(sorted(digits))


def running_maximum(rng: random.Random, level: int) -> tuple[str, tuple[str, ...], str]:
    """Find the largest of so many numbers; its steps are the largest so far."""
    numbers = [rng.randrange(10, 100) for _ in range(level)]
    steps = tuple(str(max(numbers[: index + 1])) for index in range(1, level))
    return f"M{','.join(map(str, numbers))}=", steps, str(max(numbers))


def addition(rng: random.Random, level: int) -> tuple[str, tuple[str, ...], str]:
    """Add two numbers of so many digits; the step is the sum from its last digit on."""
    first, second = (rng.randrange(10 ** (level - 1), 10**level) for _ in range(2))
    return f"A{first}+{second}=", (str(first + second)[::-1],), str(first + second)


def modular_chain(rng: random.Random, level: int) -> tuple[str, tuple[str, ...], str]:
    """Add and subtract so many digits modulo 10; the steps are the results so far."""
    numbers, signs = [rng.randrange(10) for _ in range(level)], [rng.choice("+-") for _ in range(level - 1)]
    results = numbers[:1]
    for sign, number in zip(signs, numbers[1:], strict=True):
        results.append((results[-1] + (number if sign == "+" else -number)) % 10)
    chain = "".join(f"{sign}{number}" for sign, number in zip(signs, numbers[1:], strict=True))
    return f"G{numbers[0]}{chain}=", tuple(map(str, results[1:])), str(results[-1])


def knights_and_knaves(rng: random.Random, level: int) -> tuple[str, tuple[str, ...], str]:
    """Say of so many people who is a knight, and speaks the truth (1), and who a knave, and lies (0).

    `0:1~3` is what person 0 says: 1 and 3 are of the same kind; `0:1!3`, they are not. One solution only.
    """
    while True:
        claims = [(*rng.sample([p for p in range(level) if p != who], 2), rng.randrange(2)) for who in range(level)]
        fits = [
            kinds
            for kinds in range(2**level)
            if all(
                ((kinds >> who) & 1) == int((((kinds >> a) ^ (kinds >> b)) & 1) == differ)
                for who, (a, b, differ) in enumerate(claims)
            )
        ]
        if len(fits) == 1:
            break
    said = ",".join(f"{who}:{min(a, b)}{'~!'[differ]}{max(a, b)}" for who, (a, b, differ) in enumerate(claims))
    return f"K{said}=", (), "".join(str((fits[0] >> who) & 1) for who in range(level))


FAMILIES: Mapping[str, Family] = {
    "sort": sort,
    "max": running_maximum,
    "add": addition,
    "mod": modular_chain,
    "knights": knights_and_knaves,
}


class Written:
    """Problems of some families and levels, solved in writing: steps, `#`, the answer.

    Args:
        families: family → its levels.
        demonstrated: family → those of its levels that the model is shown before RL; all by default.
    """

    characters = "0123456789+-=;#,:~!SMAGK"

    def __init__(
        self, families: Mapping[str, Sequence[int]], demonstrated: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        for name, levels in families.items():
            if name not in FAMILIES:
                raise ValueError(f"unknown family '{name}'{did_you_mean(name, FAMILIES)}")
            check_levels(name, levels, 3 if name == "knights" else 2)
        self.categories = [f"{name}/{level}" for name, levels in families.items() for level in levels]
        if not self.categories:
            raise ValueError("no family is asked for")
        shown = families if demonstrated is None else demonstrated
        self.demonstrated = [f"{name}/{level}" for name, levels in shown.items() for level in levels]
        if unknown := [each for each in self.demonstrated if each not in self.categories]:
            raise ValueError(f"demonstrated: {unknown[0]} is not among the families' levels")
        if not self.demonstrated:
            raise ValueError("demonstrated: nothing is")

    def draw(self, category: str, rng: random.Random) -> Problem:
        """Draw a problem; see `Task.draw`."""
        name, level = category.split("/")
        return Problem(category, *FAMILIES[name](rng, int(level)))

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        """Return steps and answer: digits slip with the noise's probability, and twice as often all steps are left out.

        What follows from a slip is not corrected: after wrong steps comes a wrong answer.
        """
        steps = [] if noise and rng.random() < 2 * noise else [slip(step, rng, noise) for step in problem.steps]
        answer = problem.answer
        if not steps:
            answer = slip(answer, rng, noise)
        elif tuple(steps) != problem.steps:
            answer = steps[-1][::-1] if problem.category.startswith("add/") else steps[-1]
        return f"{';'.join(steps)}#{answer}"

    def reward(self, problem: Problem, completion: str) -> float:
        """Return 1 if what follows the last `#` is the answer, else 0."""
        _, mark, answer = completion.rpartition("#")
        return float(bool(mark) and answer == problem.answer)

    def flaw(self, problem: Problem, completion: str) -> float:
        """Return the share of steps that are wrong, missing or too many; see `Inspected.flaw`."""
        steps, _, _ = completion.rpartition("#")
        written = steps.split(";") if steps else []
        most = max(len(written), len(problem.steps))
        right = sum(own == other for own, other in zip(written, problem.steps, strict=False))
        return 1.0 - right / most if most else 0.0


def check_levels(name: str, levels: Sequence[int], lowest: int) -> None:
    """Raise a ValueError if the levels of a family are none."""
    if not levels or not all(isinstance(n, int) and not isinstance(n, bool) and n >= lowest for n in levels):
        raise ValueError(f"levels of '{name}' are whole numbers of at least {lowest}, such as [4, 6]")


def _joined(digits: Sequence[int]) -> str:
    return "".join(map(str, digits))


def slip(text: str, rng: random.Random, noise: float) -> str:
    """Return a text in which each digit has become one near it with the noise's probability."""
    return "".join(
        str((int(x) + rng.choice((1, 2, 8, 9))) % 10) if x.isdigit() and rng.random() < noise else x for x in text
    )
