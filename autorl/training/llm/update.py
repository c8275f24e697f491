"""A gradient step: from completions and advantages to a loss, for models of either engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autorl.training.llm import objective
from autorl.training.llm.model import Model, with_values
from autorl.training.llm.recipe import Settings
from autorl.training.llm.sampling import Completions

Predictor = Callable[[Tensor, Tensor, int], Tensor]
"""Tokens, which of them are real, how many of the last are asked about → their logits; see `Model.forward`."""


@dataclass(frozen=True)
class Lesson:
    """What is learned from, a row a completion; the completions of a prompt follow one another.

    Attributes:
        written: the completions.
        gains: Shape ``(rows, 1)``, or ``(rows, length)`` with a critic: advantages.
        rewards: Shape ``(rows,)``.
        right: Shape ``(rows,)``, whether the answer was right.
        old: Shape ``(rows, length, vocabulary)`` if the loss needs it, else ``(rows, 0)``: logarithms of the
            probabilities with which all tokens could have been drawn.
        returns: Shape ``(rows, length)`` with a critic, else ``(rows, 0)``: what it should have expected.
    """

    written: Completions
    gains: Tensor
    rewards: Tensor
    right: Tensor
    old: Tensor
    returns: Tensor

    def only(self, which: Tensor) -> Lesson:
        """Return some rows."""
        written = Completions(*(part[which] for part in vars(self.written).values()))
        return Lesson(written, *(part[which] for name, part in vars(self).items() if name != "written"))


class Critic(nn.Module):
    """A model that begins as the policy does, with a value before each token in place of a prediction.

    Args:
        start: the model that RL starts from.
    """

    def __init__(self, start: Model) -> None:
        super().__init__()
        self.trunk, self.value = with_values(start)

    def forward(self, written: Completions) -> Tensor:
        """Return the values before the tokens of completions, shape ``(rows, length)``."""
        values: Tensor = self.value(self.trunk.states(*_whole(written)))
        return values[..., 0]


class Update:
    """The loss of a recipe.

    Args:
        model: the model in training.
        start: the model that RL starts from.
        teacher: the teacher, if there is one.
        own: the recipe.
    """

    def __init__(self, model: Predictor, start: Predictor, teacher: Predictor | None, own: Settings) -> None:
        self.model, self._start, self._teacher, self.own = model, start, teacher, own
        self._temperature = objective.temperature(own)

    @property
    def needs_gains(self) -> bool:
        """Whether completions without an advantage have no gradient, and can be left out."""
        own = self.own
        plain = own.loss in ("clip", "cispo", "reinforce", "imitation") and own.advantage_baseline != "critic"
        return plain and own.divergence == "none" and not own.entropy_coef and self._teacher is None

    def log_probs(self, model: Predictor, written: Completions) -> Tensor:
        """Return logarithms of probabilities at the temperatures of sampling, shape ``(rows, length, vocabulary)``."""
        logits = model(*_whole(written))
        temperatures = [self._temperature(t) for t in range(written.tokens.shape[1])]
        return (logits / torch.tensor(temperatures, device=logits.device)[None, :, None]).log_softmax(-1)

    def loss(self, lesson: Lesson, *, rows: float, tokens: float, progress: float) -> Tensor:
        """Return the loss of some completions.

        Args:
            lesson: the completions.
            rows: completions of the minibatch, as in `objective.aggregate`.
            tokens: tokens of it.
            progress: the share of a full run that is done.
        """
        own, written = self.own, lesson.written
        mask, log_p = written.own.float(), self.log_probs(self.model, written)
        drawn = log_p.gather(2, written.tokens[..., None])[..., 0]
        losses, of_rows = torch.zeros_like(drawn), torch.zeros(())
        if own.loss == "pacs":
            differences = ((drawn - written.log_probs) * mask).sum(1).view(-1, own.rollouts)
            of_rows = objective.pacs(differences, lesson.rewards.view(-1, own.rollouts), own).sum() / rows
        elif own.loss == "rover":
            losses = objective.rover(log_p, lesson.old, written.tokens, lesson.gains, written.real.float(), own)
        else:
            losses = objective.token_losses(drawn, written.log_probs, lesson.gains, mask, own)
        if own.divergence != "none":
            losses = losses + own.divergence_coef * self._from(self._start, log_p, written, own.divergence)
        if self._teacher is not None:
            taught = objective.teacher_coefficient(own, progress)
            from_teacher = taught * self._from(self._teacher, log_p, written, "reverse_kl")
            losses = losses + (from_teacher * ~lesson.right[:, None] if own.teacher_on == "wrong" else from_teacher)
        if own.entropy_coef:
            losses = losses + own.entropy_coef * (log_p.exp() * log_p).sum(-1)
        if own.lp_coef:
            losses = losses + own.lp_coef * objective.rare_tokens(log_p, written.tokens, lesson.gains, mask, own)
        return objective.aggregate(losses, mask, own, rows=rows, tokens=tokens) + of_rows

    def _from(self, other: Predictor, log_p: Tensor, written: Completions, kind: str) -> Tensor:
        with torch.no_grad():
            log_q = self.log_probs(other, written)
        return objective.divergences(log_p, log_q, kind)


def _whole(written: Completions) -> tuple[Tensor, Tensor, int]:
    """Return prompts with completions, what of them is real, and how many tokens are asked about."""
    real = torch.cat([written.prompt_real, written.real], 1)
    return torch.cat([written.prompts, written.tokens], 1), real, written.tokens.shape[1]
