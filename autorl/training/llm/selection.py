"""Which of a step's completions are learned from, and what is taken off their rewards.

Rewards have the shape ``(prompts, rollouts)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from autorl.training.llm import objective
from autorl.training.llm.recipe import Settings

_LEAST = 1e-3
"""The flaw of a completion without flaws, so that chances in proportion to its inverse are finite."""


def overlong_penalty(lengths: Tensor, own: Settings) -> Tensor:
    """Return what is added to the rewards of long completions, from 0 to -1 (DAPO's soft overlong punishment, eq. 13).

    Args:
        lengths: tokens of the completions.
        own: the recipe.
    """
    free = own.max_tokens - own.overlong_buffer
    return -((lengths - free) / own.overlong_buffer).clamp(0.0, 1.0)


def flaw_penalty(right: Tensor, flaws: Tensor, own: Settings) -> Tensor:
    """Return what is added to the rewards of right completions with flaws (FAPO's R_delta; there the flaw is 0 or 1).

    Args:
        right: which are right.
        flaws: how much of what leads to the answer is wrong or missing, from 0 to 1.
        own: the recipe.
    """
    return -own.flaw_penalty * flaws * right


def penalized(rewards: Tensor, flaws: Tensor, lengths: Tensor, own: Settings) -> Tensor:
    """Return the rewards that are learned from: those of the task, less what flaws and length cost.

    Args:
        rewards: of the task.
        flaws: see `flaw_penalty`.
        lengths: tokens of the completions.
        own: the recipe.
    """
    found = rewards
    if own.flaw_penalty:
        found = found + flaw_penalty(rewards >= 1.0, flaws, own)
    if own.overlong == "penalty":
        found = found + overlong_penalty(lengths, own)
    return found


def credited(
    rewards: Tensor, right: Tensor, flaws: Tensor, own: Settings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return which completions are learned from, and the advantages that they have among themselves, 0 of the others.

    The arguments are those of `chosen`.
    """
    kept = chosen(rewards, right, flaws, own, generator)
    gains = torch.zeros_like(rewards)
    gains[kept] = objective.advantages(rewards[kept].view(len(kept), -1), own).reshape(-1)
    return kept, gains


def chosen(rewards: Tensor, right: Tensor, flaws: Tensor, own: Settings, generator: torch.Generator) -> Tensor:
    """Say which completions are learned from: as many of each group, and all if there is no filter.

    Args:
        rewards: with penalties.
        right: which are right.
        flaws: see `flaw_penalty`.
        own: the recipe.
        generator: what is drawn from.

    Returns:
        Shape ``(prompts, rollouts)``, booleans.
    """
    if own.group_filter == "best_worst":
        return _best_and_worst(rewards, own, generator)
    if own.group_filter == "on_correct":
        return _on_correct(right, flaws, own, generator)
    return torch.ones_like(rewards, dtype=torch.bool)


def _best_and_worst(rewards: Tensor, own: Settings, generator: torch.Generator) -> Tensor:
    """Keep each group's best and its worst completions (PF-PPO's BW filter); ties are broken at random."""
    count = rewards.shape[1]
    order = (rewards + 1e-6 * torch.rand(rewards.shape, generator=generator)).argsort(1, descending=True)
    picked = torch.cat([order[:, : (own.kept + 1) // 2], order[:, count - own.kept // 2 :]], 1)
    return torch.zeros_like(rewards, dtype=torch.bool).scatter(1, picked, True)


def _on_correct(right: Tensor, flaws: Tensor, own: Settings, generator: torch.Generator) -> Tensor:
    """Keep the same share of right and of wrong completions (GRPO-RoC).

    Right ones are drawn without replacement with chances inversely proportional to their flaws, wrong ones with equal
    chances. Among n draws with weights w, those with the n largest u^(1/w) are such a sample (Efraimidis & Spirakis
    2006).
    """
    weights = torch.where(right, 1.0 / flaws.clamp(min=_LEAST), torch.ones_like(flaws))
    drawn = torch.rand(right.shape, generator=generator, dtype=torch.float64).log() / weights.double()
    of_right = (right.sum(1) * own.kept / right.shape[1]).round().long()
    room = torch.stack([own.kept - (~right).sum(1), torch.zeros_like(of_right)]).amax(0)  # if the wrong ones are few
    of_right = of_right.clamp(min=room).minimum(right.sum(1))
    kept = torch.zeros_like(right)
    for group, counts in ((right, of_right), (~right, own.kept - of_right)):
        rank = torch.where(group, drawn, -torch.inf).argsort(1, descending=True).argsort(1)
        kept |= group & (rank < counts[:, None])
    return kept
