"""Problems whose answers can be verified, and which of them a run may train on.

A problem's text says whether it may be trained on, or for which seeds it is held out, so that no run ever trains on a
problem that any run is evaluated on, and runs whose seeds differ (modulo 101) are evaluated on different ones.
"""

from __future__ import annotations

import hashlib
import importlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from autorl.errors import AutorlError, did_you_mean

_HELD_OUT = 4
"""One problem in so many is held out."""
_GROUPS = 101
_TRIES = 100_000


@dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes:
        category: what kind it is, and how hard: `sort/8`.
        prompt: its text.
        steps: what leads to the answer, for demonstrations.
        answer: the answer.
    """

    category: str
    prompt: str
    steps: tuple[str, ...]
    answer: str


class Task(Protocol):
    """What is to be learned. `module:Class` is made with the arguments of `task.env_kwargs`.

    Attributes:
        characters: every character that prompts and completions are made of.
    """

    characters: str

    @property
    def categories(self) -> Sequence[str]:
        """Kinds and levels of problems."""
        ...

    def draw(self, category: str, rng: random.Random) -> Problem:
        """Draw a problem."""
        ...

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        """Return a completion as somebody writes it who makes mistakes; none if the noise is 0."""
        ...

    def reward(self, problem: Problem, completion: str) -> float:
        """Return how good a completion is that has come to its end, from 0 to 1, which is right."""
        ...


@runtime_checkable
class Inspected(Protocol):
    """A task that also looks at what leads to an answer, as `flaw_penalty` and the filter `on_correct` need."""

    def flaw(self, problem: Problem, completion: str) -> float:
        """Return how much of what leads to a completion's answer is wrong or missing, from 0 to 1."""
        ...


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
SUITES: Mapping[str, Mapping[str, Sequence[int]]] = {
    "steps-easy": {"sort": (5, 6), "max": (3,)},
    "steps": {"sort": (6, 8, 10, 12), "max": (3, 4, 5)},
    "steps-hard": {"sort": (12, 16), "mod": (6, 8), "add": (4,), "knights": (5,)},
}
"""Names of tasks, by how hard they are for a model of 100,000 parameters; it hardly solves some of the last's."""


class Written:
    """Problems of some families and levels, solved in writing: steps, `#`, the answer.

    Args:
        families: family → its levels.
    """

    characters = "0123456789+-=;#,:~!SMAGK"

    def __init__(self, families: Mapping[str, Sequence[int]]) -> None:
        for name, levels in families.items():
            if name not in FAMILIES:
                raise ValueError(f"unknown family '{name}'{did_you_mean(name, FAMILIES)}")
            lowest = 3 if name == "knights" else 2
            if not levels or not all(isinstance(n, int) and not isinstance(n, bool) and n >= lowest for n in levels):
                raise ValueError(f"levels of '{name}' are whole numbers of at least {lowest}, such as [4, 6]")
        self.categories = [f"{name}/{level}" for name, levels in families.items() for level in levels]
        if not self.categories:
            raise ValueError("no family is asked for")

    def draw(self, category: str, rng: random.Random) -> Problem:
        """Draw a problem; see `Task.draw`."""
        name, level = category.split("/")
        return Problem(category, *FAMILIES[name](rng, int(level)))

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        """Return steps and answer: digits slip with the noise's probability, and twice as often all steps are left out.

        What follows from a slip is not corrected: after wrong steps comes a wrong answer.
        """
        steps = [] if noise and rng.random() < 2 * noise else [_slip(step, rng, noise) for step in problem.steps]
        answer = problem.answer
        if not steps:
            answer = _slip(answer, rng, noise)
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


def make_task(env: str, env_kwargs: Mapping[str, Any]) -> Task:
    """Return a task by the name of a suite, or by `module:Class`.

    Args:
        env: the name.
        env_kwargs: arguments of the class; of a suite `families`, which replaces its own.

    Raises:
        AutorlError: there is no such suite, or the class cannot be found or made.
    """
    module, colon, name = env.partition(":")
    try:
        if colon:
            task: Task = getattr(importlib.import_module(module), name)(**env_kwargs)
            return task
        if env == "reasoning_gym":
            from autorl.training.llm.reasoning import Reasoning

            return Reasoning(**env_kwargs)
        if env not in SUITES:
            known = [*SUITES, "reasoning_gym"]
            raise AutorlError(f"no task '{env}'{did_you_mean(env, known)}; module:Class is one of your own")
        return Written(**{"families": SUITES[env], **env_kwargs})
    except AutorlError:
        raise
    except Exception as error:
        raise AutorlError(f"'{env}' cannot be made: {type(error).__name__}: {error}") from error


def generator(seed: int) -> random.Random:
    """Return what problems are drawn from."""
    return random.Random(seed)  # noqa: S311 - nobody has an interest in guessing it


def draw_to_train(task: Task, category: str, rng: random.Random) -> Problem:
    """Draw a problem that no seed is evaluated on."""
    return _drawn(task, category, rng, lambda place: place % _HELD_OUT != 0)


def draw_to_evaluate(task: Task, count: int, seed: int, rng: random.Random) -> list[Problem]:
    """Draw different problems that are held out for a seed, the same number of each category.

    Args:
        task: the task.
        count: how many.
        seed: the run's seed.
        rng: what they are drawn from.
    """
    own = seed % _GROUPS
    found: dict[str, Problem] = {}
    for index in range(count):
        category = task.categories[index % len(task.categories)]
        problem = _drawn(
            task,
            category,
            rng,
            lambda place: place % _HELD_OUT == 0 and place // _HELD_OUT % _GROUPS == own,
            but=found,
        )
        found[problem.prompt] = problem
    return list(found.values())


def _drawn(
    task: Task, category: str, rng: random.Random, fits: Callable[[int], bool], but: Mapping[str, Problem] | None = None
) -> Problem:
    for _ in range(_TRIES):
        problem = task.draw(category, rng)
        place = int.from_bytes(hashlib.sha256(problem.prompt.encode()).digest()[:8], "big")
        if fits(place) and (but is None or problem.prompt not in but):
            return problem
    raise AutorlError(
        f"{category} has too few problems to hold some out for every seed: leave it out, take a higher level, or "
        "lower evaluation.episodes"
    )


def _joined(digits: Sequence[int]) -> str:
    return "".join(map(str, digits))


def _slip(text: str, rng: random.Random, noise: float) -> str:
    return "".join(
        str((int(x) + rng.choice((1, 2, 8, 9))) % 10) if x.isdigit() and rng.random() < noise else x for x in text
    )
