"""What both engines have in common: what they count, and what an evaluation measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from autorl.training.llm import objective
from autorl.training.llm.problems import Inspected, Problem, Task
from autorl.training.llm.recipe import Settings

METRICS: Mapping[str, str] = {
    "pass_at_1": "share of completions, drawn at temperature 1, that are right: held-out problems, mean reward",
    "pass_at_k": "probability that one of four completions is right (unbiased estimate)",
    "greedy": "share of problems that the most probable completion solves",
    "length": "tokens of a completion, mean",
    "truncated": "share of completions that do not come to their end",
    "entropy": "entropy of the next token (nats), mean over the tokens of completions",
    "kl": "divergence from the model at the start, KL(policy || start) a token (nats)",
    "zero_variance": "share of the groups trained on since the last evaluation whose rewards were all equal",
    "tokens": "tokens written in training so far, those included that were not learned from",
    "gflop": "compute of training so far, in 10^9 floating-point operations: 8 for each parameter and token written",
}
SAMPLES = K = 4
"""Completions of each problem in an evaluation, and of how many one is to be right in `pass_at_k`.

Problems differ more than the completions of one, so that more problems say more than more completions.
"""


@dataclass
class Counted:
    """What training has counted: completions, tokens, steps, and groups since the last evaluation.

    Attributes:
        completions: written in training.
        tokens: of them.
        steps: rounds of writing and learning.
        groups: completions of one prompt, since the last evaluation.
        equal: groups whose rewards were all equal.
    """

    completions: int = 0
    tokens: int = 0
    steps: int = 0
    groups: int = 0
    equal: int = 0

    def written(self, rewards: Tensor, tokens: int) -> None:
        """Count what was written, with the task's rewards, shape ``(prompts, rollouts)``."""
        self.completions += rewards.numel()
        self.tokens += tokens
        if rewards.shape[1] > 1:
            self.groups += len(rewards)
            self.equal += int((rewards.std(1) == 0).sum())


class Learner(Protocol):
    """A model in training.

    Attributes:
        counted: what it has counted.
    """

    counted: Counted

    def step(self) -> None:
        """Write completions, score them, and learn from them.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        ...

    def evaluate(self, problems: Sequence[Problem], seed: int) -> dict[str, float]:
        """Return the metrics, and `pass_at_1/CATEGORY`, of held-out problems; counts of groups begin anew."""
        ...

    def record(self) -> dict[str, Any] | None:
        """Return what was trained since this was last called, or None without a curriculum; see `Lessons.record`."""
        ...

    def broken(self) -> bool:
        """Say whether a parameter is not finite."""
        ...

    def state(self) -> dict[str, Any]:
        """Return everything that training goes on from, as tensors and plain data."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        ...


def reward(task: Task, problem: Problem, completion: str, *, ended: bool) -> float:
    """Return a completion's reward, 0 if it has not come to its end.

    Raises:
        ValueError: the task's reward is no number.
    """
    found = float(task.reward(problem, completion)) if ended else 0.0
    if not math.isfinite(found):
        raise ValueError(f"the task's reward is {found}")
    return found


def flaw(task: Task, problem: Problem, completion: str) -> float:
    """Return how much of what leads to a completion's answer is wrong; see `Inspected.flaw`.

    Raises:
        ValueError: the task cannot say.
    """
    if not isinstance(task, Inspected):
        raise ValueError("flaw_penalty and the filter on_correct need a task with a method 'flaw(problem, completion)'")
    return float(task.flaw(problem, completion))


def learning_rate(own: Settings, counted: Counted, before: int, total: int) -> float:
    """Return the learning rate of a step.

    Args:
        own: the recipe.
        counted: what training has counted.
        before: completions before this step's.
        total: completions of a full run, over which it falls if it does.
    """
    remaining = max(0.0, 1.0 - before / total) if own.lr_schedule == "linear" else 1.0
    return own.learning_rate * remaining * min(1.0, (counted.steps + 1) / (own.warmup_steps + 1))


def measured(
    task: Task,
    problems: Sequence[Problem],
    rewards: Tensor,
    best: Sequence[float],
    counted: Counted,
    model: torch.nn.Module,
) -> dict[str, float]:
    """Return the metrics that follow from rewards and counts; counts of groups begin anew.

    Args:
        task: the task.
        problems: held-out problems.
        rewards: Shape ``(problems, SAMPLES)``.
        best: rewards of the most probable completions.
        counted: what training has counted.
        model: the model, whose parameters count. A token takes 2 operations a parameter to write and 6 to learn from
            (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    metrics = {
        "pass_at_1": float(rewards.mean()),
        "pass_at_k": float(objective.pass_at_k(rewards >= 1.0, K).mean()),
        "greedy": math.fsum(best) / len(best),
        "zero_variance": counted.equal / counted.groups if counted.groups else 0.0,
        "tokens": float(counted.tokens),
        "gflop": 8e-9 * parameters * counted.tokens,
    }
    counted.groups = counted.equal = 0
    for category in task.categories:
        rows = [index for index, problem in enumerate(problems) if problem.category == category]
        if rows:
            metrics[f"pass_at_1/{category}"] = float(rewards[rows].mean())
    return metrics


def compared(log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Return the policy's entropy at each token, and its divergence from the start, both of shape ``(rows, length)``.

    Args:
        log_p: Shape ``(rows, length, vocabulary)``, logarithms of the policy's probabilities.
        log_q: of the model at the start.
    """
    return -(log_p.exp() * log_p).sum(-1), objective.divergences(log_p, log_q, "reverse_kl")


def described(entropies: Tensor, divergences: Tensor, real: Tensor, ended: Tensor) -> dict[str, float]:
    """Return the metrics that follow from the completions themselves.

    Args:
        entropies: as `compared` returns them.
        divergences: the same.
        real: Shape ``(rows, length)``, False for padding.
        ended: Shape ``(rows,)``.
    """
    count = real.sum()
    return {
        "length": float(real.sum(1).float().mean()),
        "truncated": float(1.0 - ended.float().mean()),
        "entropy": float((entropies * real).sum() / count),
        "kl": float((divergences * real).sum() / count),
    }


def finite(model: torch.nn.Module) -> bool:
    """Say whether all parameters are finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
