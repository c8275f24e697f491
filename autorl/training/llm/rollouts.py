"""The completions that a step of engine small learns from: which problems are asked, and how."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from autorl.training.curriculum.fixed import LengthStages
from autorl.training.curriculum.hints import Guidance, ItemResponse
from autorl.training.curriculum.middle_difficulty import MiddleDifficulty
from autorl.training.curriculum.teacher import Outcome
from autorl.training.curriculum.teacher import Task as Chosen
from autorl.training.llm import objective, selection
from autorl.training.llm.course import Course
from autorl.training.llm.learner import Counted, flaw, reward
from autorl.training.llm.model import Characters, Model
from autorl.training.llm.problems import Interactive, Problem, Task, draw_many_to_train, generator
from autorl.training.llm.recipe import Settings
from autorl.training.llm.sampling import Completions, Replies, complete, joined
from autorl.training.llm.values import PromptValues


@dataclass(frozen=True)
class Asked:
    """A problem as it is asked.

    Attributes:
        problem: the problem.
        chosen: what the teacher chose, or None without a curriculum.
        hint: the beginning of its solution that is given away.
        share: how much of the solution that is.
    """

    problem: Problem
    chosen: Chosen | None = None
    hint: str = ""
    share: float = 0.0

    def hinted(self, task: Task, share: float) -> Asked:
        """Return it with at most so much of its solution, which is rounded down to whole characters."""
        solution = task.demonstration(self.problem, generator(0), 0.0)
        length = int(share * len(solution))
        return replace(self, hint=solution[:length], share=length / max(1, len(solution)))


@dataclass(frozen=True)
class Experience:
    """Groups of completions.

    Attributes:
        asked: what each group answers.
        written: the completions.
        scores: the task's rewards of them, shape ``(prompts, rollouts)``, as all that follow.
        rewards: what is learned from: less penalties.
        flaws: of what leads to the answer.
    """

    asked: Sequence[Asked]
    written: Completions
    scores: Tensor
    rewards: Tensor
    flaws: Tensor

    @property
    def right(self) -> Tensor:
        """Which completions are right."""
        return self.scores >= 1.0

    def with_others(self, kept: Tensor, others: Experience) -> Experience:
        """Return some of the groups, and after them others."""
        rows = kept.repeat_interleave(self.rewards.shape[1])
        written = Completions(*(part[rows] for part in vars(self.written).values()))
        return Experience(
            [*_only(self.asked, kept), *others.asked],
            Completions(**joined(vars(written), vars(others.written))),
            torch.cat([self.scores[kept], others.scores]),
            torch.cat([self.rewards[kept], others.rewards]),
            torch.cat([self.flaws[kept], others.flaws]),
        )

    def beside(self, others: Experience) -> Experience:
        """Return the groups, each with more completions of the same problem."""
        counts, more = self.scores.numel(), others.scores.numel()
        both = Completions(**joined(vars(self.written), vars(others.written)))
        order = torch.cat(
            [
                torch.arange(counts).view_as(self.scores),
                torch.arange(counts, counts + more).view_as(others.scores),
            ],
            1,
        ).reshape(-1)
        return Experience(
            self.asked,
            Completions(*(part[order] for part in vars(both).values())),
            torch.cat([self.scores, others.scores], 1),
            torch.cat([self.rewards, others.rewards], 1),
            torch.cat([self.flaws, others.flaws], 1),
        )


class Rollouts:
    """Writes completions, and scores them.

    Args:
        task: what is to be learned.
        model: the model in training.
        own: the recipe.
        course: the curriculum, if there is one.
        values: what it expects of problems, if it asks.
        counted: what training counts.
        rng: what problems are drawn from.
        drawn_from: what tokens are drawn from.
    """

    def __init__(
        self,
        task: Task,
        model: Model,
        own: Settings,
        course: Course | None,
        values: PromptValues | None,
        counted: Counted,
        rng: random.Random,
        drawn_from: torch.Generator,
    ) -> None:
        self._task, self._model, self._own, self._characters = task, model, own, Characters(task.characters)
        self._course, self._values, self._counted = course, values, counted
        self._rng, self._generator = rng, drawn_from
        self._temperature = objective.temperature(own)
        self._teacher = course.teacher if course is not None else None
        self._told: list[tuple[Asked, float, Outcome]] = []

    def step(self) -> Experience:
        """Return completions; with dynamic sampling, of mixed groups."""
        own, found = self._own, self._ask(self._problems(self._own.prompts))
        for _ in range(own.resamplings if own.dynamic_sampling and own.rollouts > 1 else 0):
            mixed = found.scores.std(1) > 0
            if mixed.all():
                break
            # Groups that are equal again take the place of equal ones: a step always has as many.
            found = self._in_place(found, mixed, self._ask(self._problems(int((~mixed).sum()))))
        return found

    def tell(self, found: Experience, gains: Tensor) -> None:
        """Tell the curriculum what came of a step, groups included that were not learned from.

        Args:
            found: what `step` returned.
            gains: Shape ``(rows, 1)`` or ``(rows, length)``: the advantages.
        """
        if self._course is None:
            return
        own = found.written.own.float()
        of_rows = ((gains.abs() * own).sum(1) / own.sum(1).clamp(min=1.0)).view_as(found.scores)
        self._note(found, torch.ones(len(found.asked), dtype=torch.bool), of_rows.mean(1))
        told, self._told = self._told, []
        if self._values is not None:
            prompts = [self._characters.encode(asked.problem.prompt) for asked, *_ in told]
            self._values.learn(prompts, [right for _, right, _ in told])
        self._course.tell([(asked.chosen, outcome) for asked, _, outcome in told if asked.chosen is not None])

    def _note(self, found: Experience, which: Tensor, gains: Tensor) -> None:
        """Keep what came of some groups until a step is over."""
        for index in which.nonzero()[:, 0].tolist():
            right, count = float(found.right[index].float().mean()), found.scores.shape[1]
            outcome = Outcome(float(found.scores[index].mean()), right, count, float(gains[index]))
            self._told.append((found.asked[index], right, outcome))

    def _in_place(self, found: Experience, kept: Tensor, others: Experience) -> Experience:
        """Return some groups and others; of those that are left out nothing is learned."""
        if self._course is not None:
            self._note(found, ~kept, torch.zeros(len(kept)))
        return found.with_others(kept, others)

    def _problems(self, count: int) -> list[Asked]:
        """Return problems, drawn from all categories, or from those that the teacher chooses."""
        course, teacher = self._course, self._teacher
        if course is None:
            return [Asked(problem) for problem in draw_many_to_train(self._task, count, self._rng)]
        course.at(self._counted.completions)
        many = count * teacher.candidates if isinstance(teacher, MiddleDifficulty) else count
        drawn = [course.draw(self._rng) for _ in range(many)]
        if isinstance(teacher, MiddleDifficulty):
            assert self._values is not None
            with torch.no_grad():
                expected = self._values([self._characters.encode(problem.prompt) for _, problem in drawn])
            drawn = [drawn[index] for index in teacher.nearest(expected.numpy(), count)]
        return [Asked(problem, chosen) for chosen, problem in drawn]

    def _ask(self, asked: Sequence[Asked]) -> Experience:
        """Return groups of completions of problems, with what hints the curriculum gives."""
        teacher, count = self._teacher, self._own.rollouts
        if isinstance(teacher, ItemResponse):
            return self._counts(self._in_rounds(asked, teacher))
        found = self._counts(self._written(asked, count))
        for share in teacher.shares if isinstance(teacher, Guidance) else ():
            solved = (found.scores > 0).any(1)
            if solved.all():
                break
            again = [each.hinted(self._task, share) for each in _only(found.asked, ~solved)]
            found = self._in_place(found, solved, self._counts(self._written(again, count)))
        return found

    def _in_rounds(self, asked: Sequence[Asked], teacher: ItemResponse) -> Experience:
        """Return groups whose hints follow from those before; see `ItemResponse`."""
        sizes = [len(part) for part in np.array_split(np.arange(self._own.rollouts), teacher.rounds) if len(part)]
        shares, right = np.zeros((len(asked), 0)), np.zeros((len(asked), 0))
        found: Experience | None = None
        for number, size in enumerate(sizes):
            hints = teacher.hints(teacher.fitted(shares, right, sizes[:number])).tolist()
            given = [each.hinted(self._task, hint) for each, hint in zip(asked, hints, strict=True)]
            part = self._written(given, size)
            shares = np.column_stack([shares, [each.share for each in given]])
            right = np.column_stack([right, part.right.sum(1).numpy()])
            found = part if found is None else found.beside(part)
        teacher.known(teacher.fitted(shares, right, sizes))
        assert found is not None
        return found

    def _counts(self, found: Experience) -> Experience:
        self._counted.written(found.scores, int(found.written.own.sum()))
        return found

    def _written(self, asked: Sequence[Asked], copies: int) -> Experience:
        """Return so many completions of each problem."""
        own, problems = self._own, [each.problem for each in asked]
        prompts = [self._characters.encode(each.problem.prompt + each.hint) for each in asked]
        given_away, width = [len(each.hint) for each in asked], max(map(len, prompts))
        # Where hints differ much, the prompt with the longest and the room of the shortest may not fit together.
        room = max(self._model.shape.context - width, own.max_tokens - max(given_away))
        longest = min(own.max_tokens - min(given_away), room)
        if isinstance(self._teacher, LengthStages) and self._course is not None:
            longest = round(own.max_tokens * self._teacher.room(self._course.at(self._counted.completions)))
        replies = replies_of(self._task, self._characters, problems, copies)
        written = complete(self._model, prompts, copies, max(1, longest), self._temperature, self._generator, replies)
        hints = [each.hint for each in asked]
        scores = scored(self._task, self._characters, problems, written, hints).view(len(asked), copies)
        flaws = torch.zeros_like(scores)
        if own.inspects:
            rows = range(len(written.tokens))
            texts = [hints[row // copies] + self._characters.decode(written.tokens[row].tolist()) for row in rows]
            found = [flaw(self._task, problems[row // copies], texts[row]) for row in rows]
            flaws = torch.tensor(found).view_as(scores)
        rewards = selection.penalized(scores, flaws, written.real.sum(1).view_as(scores), own)
        return Experience(asked, written, scores, rewards, flaws)


def scored(
    task: Task, characters: Characters, problems: Sequence[Problem], written: Completions, hints: Sequence[str] = ()
) -> Tensor:
    """Return the task's rewards of completions, shape ``(rows,)``.

    Args:
        task: the task.
        characters: what tokens mean.
        problems: each answered by as many completions.
        written: the completions.
        hints: how the solution of each problem began, if that was given away.
    """
    copies, found = len(written.tokens) // len(problems), []
    for row, (tokens, ended) in enumerate(zip(written.tokens.tolist(), written.ended.tolist(), strict=True)):
        hint = hints[row // copies] if hints else ""
        found.append(reward(task, problems[row // copies], hint + characters.decode(tokens), ended=ended))
    return torch.tensor(found)


def replies_of(task: Task, characters: Characters, problems: Sequence[Problem], copies: int) -> Replies | None:
    """Return what the task replies, if it does."""
    if not isinstance(task, Interactive):
        return None

    def reply(row: int, tokens: Sequence[int]) -> Sequence[int]:
        return characters.encode(task.reply(problems[row // copies], characters.decode(tokens)))

    return Replies(characters.encode(task.turn)[0], reply)


def _only(asked: Sequence[Asked], which: Tensor) -> list[Asked]:
    return [each for each, kept in zip(asked, which.tolist(), strict=True) if kept]
