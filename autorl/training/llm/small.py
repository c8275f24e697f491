"""The engine `small`: RL with verifiable rewards on a transformer trained from scratch, in plain torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autorl.training.llm import objective
from autorl.training.llm.learner import SAMPLES, Counted, described, finite, measured, reward
from autorl.training.llm.model import Characters, Completions, Model, complete
from autorl.training.llm.problems import Problem, Task, draw_to_train, generator
from autorl.training.llm.recipe import Settings


class SmallLearner:
    """A small transformer in training; see `Learner`.

    Args:
        task: what is to be learned.
        start: the model that it starts from, which is not changed.
        own: the recipe.
        total: completions of a full run, over which the schedule goes.
        seeds: of what is drawn in training, and of the training problems.
    """

    def __init__(self, task: Task, start: Model, own: Settings, total: int, seeds: tuple[int, int]) -> None:
        self.task, self.own, self._total = task, own, total
        self._characters, self.start = Characters(task.characters), start.eval().requires_grad_(False)
        self.model = Model(start.shape, self._characters.size)
        self.model.load_state_dict(start.state_dict())
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), weight_decay=own.weight_decay, betas=(0.9, own.adam_beta2), foreach=True
        )
        self._generator = torch.Generator().manual_seed(seeds[0])
        self._rng = generator(seeds[1])
        self._temperature = objective.temperature(own)
        self.counted = Counted()

    def step(self) -> None:
        """Write completions, score them, and learn from them.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        written, rewards = self._experience()
        gains = objective.advantages(rewards, self.own)
        kept = torch.ones_like(rewards, dtype=torch.bool)
        if self.own.overlong == "mask":
            kept &= written.ended.view_as(kept)
        if self.own.group_filter == "best_worst":
            kept &= objective.best_and_worst(rewards, self.own, self._generator)
        self._learn(written, gains.reshape(-1), kept.reshape(-1))
        self.counted.steps += 1

    def _experience(self) -> tuple[Completions, Tensor]:
        """Return completions and rewards, shape ``(prompts, rollouts)``; with dynamic sampling, of mixed groups."""
        own = self.own
        written, rewards = self._rollouts(own.prompts)
        for _ in range(own.resamplings if own.dynamic_sampling else 0):
            mixed = rewards.std(1) > 0 if own.rollouts > 1 else torch.ones(len(rewards), dtype=torch.bool)
            if mixed.all():
                break
            more, others = self._rollouts(int((~mixed).sum()))
            # Groups that are equal again take the place of equal ones: a step always has as many.
            written = _joined(_rows(written, mixed.repeat_interleave(own.rollouts)), more)
            rewards = torch.cat([rewards[mixed], others])
        return written, rewards

    def _rollouts(self, count: int) -> tuple[Completions, Tensor]:
        own = self.own
        problems = [draw_to_train(self.task, self._rng.choice(self.task.categories), self._rng) for _ in range(count)]
        prompts = [self._characters.encode(problem.prompt) for problem in problems]
        written = complete(self.model, prompts, own.rollouts, own.max_tokens, self._temperature, self._generator)
        rewards = self._scores(problems, written).view(count, own.rollouts)
        self.counted.written(rewards, int(written.real.sum()))
        if own.overlong == "penalty":
            rewards = rewards + objective.overlong_penalty(written.real.sum(1), own).view_as(rewards)
        return written, rewards

    def _scores(self, problems: Sequence[Problem], written: Completions) -> Tensor:
        copies = len(written.tokens) // len(problems)
        found = []
        for row, (tokens, ended) in enumerate(zip(written.tokens.tolist(), written.ended.tolist(), strict=True)):
            found.append(reward(self.task, problems[row // copies], self._characters.decode(tokens), ended=ended))
        return torch.tensor(found)

    def _learn(self, written: Completions, gains: Tensor, kept: Tensor) -> None:
        own, learns = self.own, kept
        if own.divergence == "none" and not own.entropy_coef:
            learns = kept & (gains != 0)  # the others' gradients are zero
        lengths = written.real.sum(1).float()
        rows = max(1.0, float(kept.sum()) / own.minibatches)
        tokens = max(1.0, float(lengths[kept].sum()) / own.minibatches)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        indices = learns.nonzero()[:, 0]
        for _ in range(own.epochs):
            order = indices[torch.randperm(len(indices), generator=self._generator)]
            for part in order.chunk(own.minibatches) if len(order) else ():
                loss = self._loss(_rows(written, part), gains[part][:, None], rows, tokens)
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"the loss is {float(loss)}")
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), own.max_grad_norm)
                self._optimizer.step()

    def _loss(self, written: Completions, gains: Tensor, rows: float, tokens: float) -> Tensor:
        own, mask = self.own, written.real.float()
        log_p = self._log_probs(self.model, written)
        chosen = log_p.gather(2, written.tokens[..., None])[..., 0]
        losses = objective.token_losses(chosen, written.log_probs, gains, mask, own)
        if own.divergence != "none":
            with torch.no_grad():
                log_q = self._log_probs(self.start, written)
            losses = losses + own.divergence_coef * objective.divergences(log_p, log_q, own.divergence)
        if own.entropy_coef:
            losses = losses + own.entropy_coef * (log_p.exp() * log_p).sum(-1)
        return objective.aggregate(losses, mask, own, rows=rows, tokens=tokens)

    def _log_probs(self, model: Model, written: Completions) -> Tensor:
        """Return logarithms of probabilities at the temperatures of sampling, shape ``(rows, length, vocabulary)``."""
        length = written.tokens.shape[1]
        temperatures = torch.tensor([self._temperature(t) for t in range(length)])[None, :, None]
        ids = torch.cat([written.prompts, written.tokens], 1)
        logits = model(ids, torch.cat([written.prompt_real, written.real], 1), length)
        found: Tensor = (logits / temperatures).log_softmax(-1)
        return found

    def _rate(self) -> float:
        own, remaining = self.own, 1.0
        if own.lr_schedule == "linear":
            remaining = max(0.0, 1.0 - self.counted.completions / self._total)
        return own.learning_rate * remaining * min(1.0, (self.counted.steps + 1) / (own.warmup_steps + 1))

    @torch.no_grad()
    def evaluate(self, problems: Sequence[Problem], seed: int) -> dict[str, float]:
        """Return the metrics, and `pass_at_1/CATEGORY`, of held-out problems; counts of groups begin anew."""
        own, drawn_from = self.own, torch.Generator().manual_seed(seed)
        prompts = [self._characters.encode(problem.prompt) for problem in problems]
        best = complete(self.model, prompts, 1, own.max_tokens, None, drawn_from)
        written = complete(self.model, prompts, SAMPLES, own.max_tokens, lambda _: 1.0, drawn_from)
        rewards = self._scores(problems, written).view(len(problems), SAMPLES)
        ids = torch.cat([written.prompts, written.tokens], 1)
        real, length = torch.cat([written.prompt_real, written.real], 1), written.tokens.shape[1]
        log_p, log_q = (model(ids, real, length).log_softmax(-1) for model in (self.model, self.start))
        greedy = self._scores(problems, best).tolist()
        metrics = measured(self.task, problems, rewards, greedy, self.counted)
        return metrics | described(log_p, log_q, written.real, written.ended)

    def broken(self) -> bool:
        """Say whether a parameter is not finite."""
        return not finite(self.model)

    def state(self) -> dict[str, Any]:
        """Return everything that training goes on from, as tensors and plain data."""
        return {
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
        self._generator.set_state(state["generator"])
        version, internal, gauss = json.loads(state["rng"])
        self._rng.setstate((version, tuple(internal), gauss))
        self.counted = Counted(**state["counted"])


def _rows(written: Completions, which: Tensor) -> Completions:
    return Completions(*(part[which] for part in vars(written).values()))


def _joined(first: Completions, second: Completions) -> Completions:
    """Return the completions of both, padded to one width: prompts on the left, completions on the right."""
    joined = {}
    for name, part in vars(first).items():
        other = getattr(second, name)
        if part.dim() == 2:
            width = max(part.shape[1], other.shape[1])
            left = name.startswith("prompt")
            part, other = (
                torch.nn.functional.pad(x, (width - x.shape[1], 0) if left else (0, width - x.shape[1]))
                for x in (part, other)
            )
        joined[name] = torch.cat([part, other])
    return Completions(**joined)
