"""The engine `small`: RL with verifiable rewards on a transformer trained from scratch, in plain torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autorl.training.curriculum.middle_difficulty import MiddleDifficulty
from autorl.training.llm import objective, selection
from autorl.training.llm.course import Course
from autorl.training.llm.learner import SAMPLES, Counted, compared, described, finite, learning_rate, measured
from autorl.training.llm.model import Characters, Model
from autorl.training.llm.problems import Problem, Task, generator
from autorl.training.llm.recipe import Settings
from autorl.training.llm.rollouts import Experience, Rollouts, replies_of, scored
from autorl.training.llm.sampling import Completions, complete
from autorl.training.llm.update import Critic, Lesson, Update
from autorl.training.llm.values import PromptValues


class SmallLearner:
    """A small transformer in training; see `Learner`.

    Args:
        task: what is to be learned.
        start: the model that it starts from, which is not changed.
        teacher: the model that it learns from too, if there is one.
        own: the recipe.
        total: completions of a full run, over which the schedules go.
        seeds: of what is drawn in training, and of the training problems.
        course: the curriculum, if there is one.
    """

    def __init__(
        self,
        task: Task,
        start: Model,
        teacher: Model | None,
        own: Settings,
        total: int,
        seeds: tuple[int, int],
        course: Course | None = None,
    ) -> None:
        self.task, self.own, self._total = task, own, total
        self._characters, self.start = Characters(task.characters), start.eval().requires_grad_(False)
        self.model = Model(start.shape, self._characters.size)
        self.model.load_state_dict(start.state_dict())
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), weight_decay=own.weight_decay, betas=(0.9, own.adam_beta2), foreach=True
        )
        self._update = Update(self.model, start, teacher, own)
        self._critic = Critic(start).requires_grad_(True) if own.advantage_baseline == "critic" else None
        if self._critic is not None:
            self._of_critic = torch.optim.AdamW(
                self._critic.parameters(), own.critic_learning_rate, weight_decay=0.0, foreach=True
            )
        self._generator = torch.Generator().manual_seed(seeds[0])
        self._rng = generator(seeds[1])
        self.counted, self._course = Counted(), course
        asks = course.teacher if course is not None else None
        self._values = PromptValues(start, asks.value_rate) if isinstance(asks, MiddleDifficulty) else None
        drawn_from = self._rng, self._generator
        self._rollouts = Rollouts(task, self.model, own, course, self._values, self.counted, *drawn_from)

    def step(self) -> None:
        """Write completions, score them, and learn from them.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        own, before = self.own, self.counted.completions
        found = self._rollouts.step()
        kept, gains = selection.credited(found.rewards, found.right, found.flaws, own, self._generator)
        if own.overlong == "mask":
            kept &= found.written.ended.view_as(kept)
        lesson = self._lesson(found, gains.reshape(-1, 1))
        self._rollouts.tell(found, lesson.gains)
        self._learn(lesson, kept.reshape(-1), before)
        self.counted.steps += 1

    @torch.no_grad()
    def _lesson(self, found: Experience, gains: Tensor) -> Lesson:
        written, rewards = found.written, found.rewards.reshape(-1)
        old = returns = torch.zeros(len(rewards), 0)
        if self.own.loss == "rover":
            old = self._update.log_probs(self.model, written)
        if self._critic is not None:
            mask = written.real.float()
            gains, returns = objective.generalized(rewards, self._critic(written), mask, self.own)
        return Lesson(written, gains, rewards, found.right.reshape(-1), old, returns)

    def _learn(self, lesson: Lesson, kept: Tensor, before: int) -> None:
        own, learns = self.own, kept
        if self._update.needs_gains:
            learns = kept & (lesson.gains[:, 0] != 0)
        lengths = lesson.written.own.sum(1).float()
        rows = max(1.0, float(kept.sum()) / own.minibatches)
        tokens = max(1.0, float(lengths[kept].sum()) / own.minibatches)
        progress = self.counted.completions / self._total
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(own, self.counted, before, self._total)
        indices = learns.nonzero()[:, 0]
        for _ in range(own.epochs):
            for part in self._parts(indices):
                some = lesson.only(part)
                loss = self._update.loss(some, rows=rows, tokens=tokens, progress=progress)
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss.item()}")
                self._descend(loss, self.model, self._optimizer)
                if self._critic is not None:
                    mask = some.written.real.float()
                    wrong = 0.5 * (((self._critic(some.written) - some.returns) ** 2) * mask).sum() / mask.sum()
                    self._descend(wrong, self._critic, self._of_critic)

    def _parts(self, indices: Tensor) -> Sequence[Tensor]:
        """Return the rows of each minibatch, in an order drawn anew."""
        own = self.own
        if not len(indices):
            return ()
        if own.loss == "pacs":  # which compares the completions of a prompt
            order = torch.randperm(own.prompts, generator=self._generator)[:, None] * own.rollouts
            return [part.reshape(-1) for part in (order + torch.arange(own.rollouts)).chunk(own.minibatches)]
        return indices[torch.randperm(len(indices), generator=self._generator)].chunk(own.minibatches)

    def _descend(self, loss: Tensor, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), self.own.max_grad_norm)
        optimizer.step()

    @torch.no_grad()
    def evaluate(self, problems: Sequence[Problem], seed: int) -> dict[str, float]:
        """Return the metrics, and `pass_at_1/CATEGORY`, of held-out problems; counts of groups begin anew."""
        own, drawn_from = self.own, torch.Generator().manual_seed(seed)
        prompts = [self._characters.encode(problem.prompt) for problem in problems]
        best, written = (
            complete(
                self.model,
                prompts,
                copies,
                own.max_tokens,
                None if copies == 1 else lambda _: 1.0,
                drawn_from,
                replies_of(self.task, self._characters, problems, copies),
            )
            for copies in (1, SAMPLES)
        )
        rewards = scored(self.task, self._characters, problems, written).view(len(problems), SAMPLES)
        ids = torch.cat([written.prompts, written.tokens], 1)
        real, length = torch.cat([written.prompt_real, written.real], 1), written.tokens.shape[1]
        log_p, log_q = (model(ids, real, length).log_softmax(-1) for model in (self.model, self.start))
        greedy = scored(self.task, self._characters, problems, best).tolist()
        metrics = measured(self.task, problems, rewards, greedy, self.counted, self.model)
        return metrics | described(*compared(log_p, log_q), written.own, written.ended)

    @torch.no_grad()
    def entropies(self, problems: Sequence[Problem]) -> list[tuple[list[float], list[float]]]:
        """Return the entropies (nats) along two answers to each problem, for `autorl.analysis.contamination`.

        Both are the most probable ones: to the problem, and to the problem once more after the first answer. A model
        that follows instructions would be asked for another way there.
        """
        prompts = [self._characters.encode(problem.prompt) for problem in problems]
        first = self._greedy(prompts)
        answers = [tokens[own].tolist() for tokens, own in zip(first.tokens, first.own, strict=True)]
        asked = [[*prompt, *answer, *prompt] for prompt, answer in zip(prompts, answers, strict=True)]
        return list(zip(self._along(first), self._along(self._greedy(asked)), strict=True))

    def _greedy(self, prompts: Sequence[Sequence[int]]) -> Completions:
        return complete(self.model, prompts, 1, self.own.max_tokens, None, self._generator)

    def _along(self, written: Completions) -> list[list[float]]:
        ids, real = torch.cat([written.prompts, written.tokens], 1), torch.cat([written.prompt_real, written.real], 1)
        log_p = self.model(ids, real, written.tokens.shape[1]).log_softmax(-1)
        entropies = -(log_p.exp() * log_p).sum(-1)
        return [row[own].tolist() for row, own in zip(entropies, written.own, strict=True)]

    def record(self) -> dict[str, Any] | None:
        """Return what was trained since this was last called, or None without a curriculum; see `Lessons.record`."""
        return self._course.record() if self._course is not None else None

    def broken(self) -> bool:
        """Say whether a parameter is not finite."""
        return not finite(self.model)

    def state(self) -> dict[str, Any]:
        """Return everything that training goes on from, as tensors and plain data."""
        critic = {}
        if self._critic is not None:
            critic = {"model": self._critic.state_dict(), "optimizer": self._of_critic.state_dict()}
        return {
            "critic": critic,
            "course": self._course.state() if self._course is not None else {},
            "values": self._values.state() if self._values is not None else {},
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "rng": json.dumps(self._rng.getstate()),
            "counted": dict(vars(self.counted)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; of the optimizer its moments, since a fork has settings of its own."""
        self.model.load_state_dict(state["model"])
        own = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": own})
        if self._critic is not None and state["critic"]:
            self._critic.load_state_dict(state["critic"]["model"])
            rates = self._of_critic.state_dict()["param_groups"]
            self._of_critic.load_state_dict({"state": state["critic"]["optimizer"]["state"], "param_groups": rates})
        self._generator.set_state(state["generator"])
        version, internal, gauss = json.loads(state["rng"])
        self._rng.setstate((version, tuple(internal), gauss))
        vars(self.counted).update(state["counted"])
        # What was saved before there were curricula has none.
        same = self._course is not None and state.get("course") and self._course.restore(state["course"])
        if same and self._values is not None:
            self._values.restore(state["values"])
