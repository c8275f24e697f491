"""Problems whose answers can be verified, and which of them a run may train on.

A problem's text says whether it may be trained on, or for which seeds it is held out, so that no run ever trains on a
problem that any run is evaluated on, and runs whose seeds differ (modulo 101) are evaluated on different ones.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

from autorl.errors import AutorlError

VERSION = 1
"""Of problems: another one draws others."""
_HELD_OUT = 4
"""One problem in so many is held out."""
GROUPS = 101
"""Parts of the problems held out: one for all seeds with the same remainder."""
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
class Demonstrated(Protocol):
    """A task of which only some categories are shown to the model before RL."""

    @property
    def demonstrated(self) -> Sequence[str]:
        """The categories that there are demonstrations of."""
        ...


@runtime_checkable
class Inspected(Protocol):
    """A task that also looks at what leads to an answer, as `flaw_penalty` and the filter `on_correct` need."""

    def flaw(self, problem: Problem, completion: str) -> float:
        """Return how much of what leads to a completion's answer is wrong or missing, from 0 to 1."""
        ...


@runtime_checkable
class Interactive(Protocol):
    """A task that answers while a completion is being written. Its answers are part of completions, and not learned.

    Attributes:
        turn: the character with which the model ends a turn.
    """

    turn: str

    def reply(self, problem: Problem, transcript: str) -> str:
        """Return what is written after a turn.

        Args:
            problem: the problem.
            transcript: turns and replies so far, up to the end of this turn.
        """
        ...


def generator(seed: int) -> random.Random:
    """Return what problems are drawn from."""
    return random.Random(seed)  # noqa: S311 - nobody has an interest in guessing it


def draw_to_train(task: Task, category: str, rng: random.Random) -> Problem:
    """Draw a problem that no seed is evaluated on."""
    return _drawn(task, category, rng, lambda place: place % _HELD_OUT != 0)


def draw_many_to_train(task: Task, count: int, rng: random.Random) -> list[Problem]:
    """Draw problems of categories drawn at random; see `draw_to_train`."""
    return [draw_to_train(task, rng.choice(task.categories), rng) for _ in range(count)]


def draw_to_evaluate(
    task: Task, count: int, seed: int, rng: random.Random, categories: Sequence[str] | None = None
) -> list[Problem]:
    """Draw different problems that are held out for a seed, the same number of each category.

    Args:
        task: the task.
        count: how many.
        seed: the run's seed.
        rng: what they are drawn from.
        categories: of the problems; all of the task's by default.
    """
    categories = task.categories if categories is None else categories
    own = seed % GROUPS
    found: dict[str, Problem] = {}
    for index in range(count):
        category = categories[index % len(categories)]
        problem = _drawn(
            task,
            category,
            rng,
            lambda place: place % _HELD_OUT == 0 and place // _HELD_OUT % GROUPS == own,
            but=found,
        )
        found[problem.prompt] = problem
    return list(found.values())


def dumped(problems: Sequence[Problem]) -> bytes:
    """Write problems down."""
    return json.dumps([asdict(problem) for problem in problems]).encode()


def loaded(content: bytes) -> list[Problem]:
    """Return the problems that were written down."""
    return [Problem(**{**fields, "steps": tuple(fields["steps"])}) for fields in json.loads(content)]


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
