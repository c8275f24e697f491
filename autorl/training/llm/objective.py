"""What a step of RL maximizes: advantages, importance ratios, divergences, and how they become one number.

Rewards and what comes of them have the shape ``(prompts, rollouts)``, tokens' quantities ``(rows, length)``, a row a
completion, and are meaningful where the mask is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from autorl.training.llm.recipe import Settings

_EPSILON = 1e-4


def advantages(rewards: Tensor, own: Settings) -> Tensor:
    """Return how much better each completion is than what it is compared with, shape ``(prompts, rollouts)``.

    group: r - mean(group) (GRPO); leave_one_out: r - mean(others of the group) (RLOO); batch: r - mean(step). Divided
    by the standard deviation over the group (GRPO) or the step (Lite PPO), or not (Dr. GRPO).
    """
    found = rewards
    if own.advantage_baseline == "group":
        found = rewards - rewards.mean(1, keepdim=True)
    elif own.advantage_baseline == "leave_one_out":
        found = rewards - (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    elif own.advantage_baseline == "batch":
        found = rewards - rewards.mean()
    if own.advantage_scale == "group":
        found = found / (rewards.std(1, keepdim=True) + _EPSILON)
    elif own.advantage_scale == "batch":
        found = found / (rewards.std() + _EPSILON)
    return found


def ratios(log_probs: Tensor, old: Tensor, mask: Tensor, own: Settings) -> Tensor:
    """Return importance ratios: of each token, or of a whole completion, (pi / pi_old)^(1 / length) (GSPO, equation 7).

    Those of completions have the shape ``(rows, 1)``.
    """
    difference = log_probs - old
    if own.ratio == "sequence":
        difference = (difference * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return difference.exp()


def token_losses(log_probs: Tensor, old: Tensor, gains: Tensor, mask: Tensor, own: Settings) -> Tensor:
    """Return what is minimized for each token, without divergence and entropy.

    clip: -min(r A, clip(r, 1 - low, 1 + high) A) (PPO, Schulman et al. 2017, equation 7; DAPO, equation 8, with two
    bounds); cispo: -sg(min(r, 1 + high)) A log pi (MiniMax-M1); reinforce: -A log pi; imitation: the same,
    of completions that are better than nothing.

    Args:
        log_probs: logarithms of the tokens' probabilities.
        old: those with which they were drawn.
        gains: Shape ``(rows, 1)``, advantages.
        mask: which tokens count.
        own: the recipe.
    """
    if own.loss == "reinforce":
        return -gains * log_probs
    if own.loss == "imitation":
        return -(gains > 0).float() * log_probs
    ratio = ratios(log_probs, old, mask, own)
    if own.loss == "cispo":
        return -ratio.clamp(max=1 + own.clip_high).detach() * gains * log_probs
    clipped = ratio.clamp(1 - own.clip_low, 1 + own.clip_high)
    return (-torch.min(ratio * gains, clipped * gains)).expand_as(log_probs)


def divergences(log_p: Tensor, log_q: Tensor, kind: str) -> Tensor:
    """Return the divergence of the policy p from the reference q at each token, over the whole vocabulary.

    reverse_kl: KL(p || q); forward_kl: KL(q || p); jensen_shannon: half of each to their mean (DPH-RL).

    Args:
        log_p: Shape ``(rows, length, vocabulary)``.
        log_q: the same of the reference.
        kind: one of them.
    """
    if kind == "reverse_kl":
        return (log_p.exp() * (log_p - log_q)).sum(-1)
    if kind == "forward_kl":
        return (log_q.exp() * (log_q - log_p)).sum(-1)
    middle = torch.logaddexp(log_p, log_q) - math.log(2.0)
    return 0.5 * ((log_p.exp() * (log_p - middle)).sum(-1) + (log_q.exp() * (log_q - middle)).sum(-1))


def aggregate(losses: Tensor, mask: Tensor, own: Settings, *, rows: float, tokens: float) -> Tensor:
    """Return one loss: the part that these rows have in their minibatch's.

    sequence: the mean over completions of the mean over their tokens (GRPO); token: the mean over all
    tokens (DAPO, equation 8); constant: the sum over completions and tokens by completions times `max_tokens` (Dr.
    GRPO).

    Args:
        losses: of the tokens.
        mask: which count.
        own: the recipe.
        rows: completions of the minibatch, those included that contribute nothing and were left out.
        tokens: tokens of the minibatch, the same.
    """
    kept = losses * mask
    if own.aggregation == "sequence":
        return (kept.sum(1) / mask.sum(1)).sum() / rows
    if own.aggregation == "token":
        return kept.sum() / tokens
    return kept.sum() / (rows * own.max_tokens)


def temperature(own: Settings) -> Callable[[int], float]:
    """Return the temperature by the position in a completion.

    EAD: max(1 + T_max - exp(t / d), T_min), here with T_max = `temperature`, so that it begins there.
    """
    if own.temperature_end is None:
        return lambda _: own.temperature
    lowest = own.temperature_end
    return lambda t: max(1.0 + own.temperature - math.exp(min(t / own.temperature_decay, 50.0)), lowest)


def overlong_penalty(lengths: Tensor, own: Settings) -> Tensor:
    """Return what is added to the rewards of long completions, from 0 to -1 (DAPO's soft overlong punishment, eq. 13).

    Args:
        lengths: tokens of the completions.
        own: the recipe.
    """
    free = own.max_tokens - own.overlong_buffer
    return -((lengths - free) / own.overlong_buffer).clamp(0.0, 1.0)


def best_and_worst(rewards: Tensor, own: Settings, generator: torch.Generator) -> Tensor:
    """Say which completions of each group are learned from: its best and its worst (PF-PPO's BW filter).

    Ties are broken at random.

    Returns:
        Shape ``(prompts, rollouts)``.
    """
    count = rewards.shape[1]
    kept = min(count, max(2, round(count * own.filter_keep)))
    order = (rewards + 1e-6 * torch.rand(rewards.shape, generator=generator)).argsort(1, descending=True)
    chosen = torch.cat([order[:, : (kept + 1) // 2], order[:, count - kept // 2 :]], 1)
    return torch.zeros_like(rewards, dtype=torch.bool).scatter(1, chosen, True)


def pass_at_k(right: Tensor, k: int) -> Tensor:
    """Return the probability that one of k completions is right, for each problem, shape ``(problems,)``.

    The unbiased estimate 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374, equation 1).

    Args:
        right: Shape ``(problems, n)``, booleans, n >= k.
        k: how many.
    """
    n, c = right.shape[1], right.sum(1)
    missed = [math.comb(n - int(count), k) / math.comb(n, k) for count in c]
    return 1.0 - torch.tensor(missed, dtype=torch.float64)
