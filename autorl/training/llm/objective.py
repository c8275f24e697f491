"""What a step of RL maximizes: advantages, importance ratios, divergences, and how they become one number.

Rewards and what comes of them have the shape ``(prompts, rollouts)``, tokens' quantities ``(rows, length)``, a row a
completion, and are meaningful where the mask is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor

from autorl.training.llm.recipe import Settings

_EPSILON = 1e-4
_IMPOSSIBLE = -1e6
"""Below this, the logarithm of a probability is that of padding, which nobody writes."""


def advantages(rewards: Tensor, own: Settings) -> Tensor:
    """Return how much better each completion is than what it is compared with, shape ``(prompts, rollouts)``.

    group: r - mean(group) (GRPO); leave_one_out: r - mean(others of the group) (RLOO); batch: r - mean(step). Divided
    by the standard deviation over the group (GRPO) or the step (Lite PPO), or not (Dr. GRPO). Those of a critic follow
    from `generalized`; ROVER's are part of its equation, which has r - mean(group).
    """
    if own.loss == "rover":
        return rewards - rewards.mean(1, keepdim=True)
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


def generalized(rewards: Tensor, values: Tensor, mask: Tensor, own: Settings) -> tuple[Tensor, Tensor]:
    """Return the advantages of tokens, and what a critic should have expected, both shaped as the values.

    Generalized advantage estimation with discount 1 (Schulman et al. 2016, arXiv 1506.02438, equation 16): the reward
    comes with the last token, so that A_t = sum over l of lambda^l (V_{t+l+1} - V_{t+l}), where the value after the
    last token is the reward.

    Args:
        rewards: Shape ``(rows,)``.
        values: what the critic expects before each token.
        mask: which tokens are real.
        own: the recipe.
    """
    rows, length = values.shape
    last = mask.sum(1).long() - 1
    following = torch.cat([values[:, 1:], values.new_zeros(rows, 1)], 1)
    following = following.scatter(1, last[:, None], rewards[:, None].to(values)) * mask
    differences = (following - values) * mask
    found, later = torch.zeros_like(values), values.new_zeros(rows)
    for t in reversed(range(length)):
        later = differences[:, t] + own.gae_lambda * later
        found[:, t] = later
    returns = (found + values) * mask
    if own.advantage_scale == "batch":
        found = found / (found[mask > 0].std() + _EPSILON)
    return found * mask, returns


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
    bounds); cispo: -sg(min(r, 1 + high)) A log pi (MiniMax-M1); reinforce: -A log pi; imitation: -log pi where A > 0;
    oreal: -log pi where A > 0, else -c r A (OREAL, whose negative rewards are reshaped by the share of right ones, as A
    is; without its token-level reward model).

    Args:
        log_probs: logarithms of the tokens' probabilities.
        old: those with which they were drawn.
        gains: advantages, shape ``(rows, 1)``, or those of tokens.
        mask: which tokens count.
        own: the recipe.
    """
    if own.loss == "reinforce":
        return -gains * log_probs
    if own.loss == "imitation":
        return -(gains > 0).float() * log_probs
    ratio = ratios(log_probs, old, mask, own)
    if own.loss == "oreal":
        return torch.where(gains > 0, -log_probs, -own.negative_coef * ratio * gains)
    if own.loss == "cispo":
        return -ratio.clamp(max=1 + own.clip_high).detach() * gains * log_probs
    clipped = ratio.clamp(1 - own.clip_low, 1 + own.clip_high)
    return (-torch.min(ratio * gains, clipped * gains)).expand_as(log_probs)


def pacs(differences: Tensor, rewards: Tensor, own: Settings) -> Tensor:
    """Return the loss of each completion: how badly the change of the policy tells the right ones from the others.

    PACS: the score of a completion is psi_i = s_i - mean(s of the others of its group), s = beta log(pi / pi_old), and
    the loss the cross-entropy -(R log sigma(psi) + (1 - R) log(1 - sigma(psi))).

    Args:
        differences: Shape ``(prompts, rollouts)``, log(pi / pi_old) of whole completions.
        rewards: the same shape.
        own: the recipe.
    """
    scores = own.score_scale * differences
    others = (scores.sum(1, keepdim=True) - scores) / (scores.shape[1] - 1)
    return F.binary_cross_entropy_with_logits(scores - others, rewards.clamp(0.0, 1.0), reduction="none")


def rover(log_p: Tensor, old: Tensor, tokens: Tensor, gains: Tensor, mask: Tensor, own: Settings) -> Tensor:
    """Return what is minimized for each token: (Q - Q')^2, for values of the policy that acts at random (ROVER).

    Q = rho (log pi - log pi_old) of the token, and Q' = r + the mean of Q over the vocabulary at the next token, where
    r is the reward less its group's mean; no gradient goes through Q'.

    Args:
        log_p: Shape ``(rows, length, vocabulary)``, logarithms of probabilities.
        old: the same, as they were when the completions were drawn.
        tokens: Shape ``(rows, length)``.
        gains: Shape ``(rows, 1)``, rewards less their groups' means.
        mask: which tokens are real.
        own: the recipe.
    """
    values = own.score_scale * (log_p - old)
    possible = old > _IMPOSSIBLE
    mean = torch.where(possible, values.detach(), 0.0).sum(-1) / possible.sum(-1)
    following = (mean * mask)[:, 1:]
    target = gains + torch.cat([following, following.new_zeros(len(values), 1)], 1)
    return (values.gather(2, tokens[..., None])[..., 0] - target) ** 2


def rare_tokens(log_p: Tensor, tokens: Tensor, gains: Tensor, mask: Tensor, own: Settings) -> Tensor:
    """Return KL(proxy || policy) at the tokens that Lp-Reg protects, and 0 elsewhere, shape ``(rows, length)``.

    The proxy is the policy without what is less probable than `lp_least` times the most probable token, normalized
    again. Protected are tokens of completions that are worse than others, among the `lp_share` least probable of all,
    that the proxy has.

    Args:
        log_p: Shape ``(rows, length, vocabulary)``, logarithms of probabilities.
        tokens: Shape ``(rows, length)``.
        gains: advantages, shape ``(rows, 1)``, or those of tokens.
        mask: which tokens are real.
        own: the recipe.
    """
    with torch.no_grad():
        plausible = log_p >= log_p.amax(-1, keepdim=True) + math.log(max(own.lp_least, 1e-30))
        proxy = log_p.masked_fill(~plausible, -torch.inf).log_softmax(-1)
        chosen = log_p.gather(2, tokens[..., None])[..., 0]
        rarest = torch.quantile(chosen[mask > 0], own.lp_share)
        there = plausible.gather(2, tokens[..., None])[..., 0]
        protected = (chosen <= rarest) & there & (gains < 0) & (mask > 0)
    divergence = torch.where(plausible, proxy.exp() * (proxy - log_p), 0.0).sum(-1)
    return divergence * protected


def divergences(log_p: Tensor, log_q: Tensor, kind: str) -> Tensor:
    """Return the divergence of the policy p from the reference q at each token, over the whole vocabulary.

    reverse_kl: KL(p || q); forward_kl: KL(q || p); jensen_shannon: half of each to their mean. They
    are taken at the tokens that the policy wrote; DPH-RL takes those of its rehearsal at completions of q.

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


def teacher_coefficient(own: Settings, progress: float) -> float:
    """Return the coefficient of the divergence from the teacher: from first to last along a straight line (KDRL).

    Args:
        own: the recipe.
        progress: the share of a full run that is done.
    """
    if own.teacher_coef_end is None:
        return own.teacher_coef
    return own.teacher_coef + (own.teacher_coef_end - own.teacher_coef) * min(1.0, progress)


def temperature(own: Settings) -> Callable[[int], float]:
    """Return the temperature by the position in a completion.

    EAD: max(1 + T_max - exp(t / d), T_min), here with T_max = `temperature`, so that it begins there.
    """
    if own.temperature_end is None:
        return lambda _: own.temperature
    lowest = own.temperature_end
    return lambda t: max(1.0 + own.temperature - math.exp(min(t / own.temperature_decay, 50.0)), lowest)


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
