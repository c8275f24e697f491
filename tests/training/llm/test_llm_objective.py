"""Each switch of the recipe is its paper's equation, worked out by hand or by another road."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autorl.training.llm import objective
from autorl.training.llm.recipe import Settings

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
LOG_PROBS = torch.tensor([[-0.5, -1.0, -2.0], [-0.1, -0.2, 0.0]], dtype=torch.float64)
OLD = torch.tensor([[-1.0, -1.0, -1.0], [-0.3, -0.3, 0.0]], dtype=torch.float64)
MASK = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
GAINS = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)


def own(**keys: Any) -> Settings:
    return Settings(**keys)


def close(found: Tensor, expected: Any) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.asarray(expected), rtol=1e-5, atol=1e-6)


def test_baseline_of_the_group() -> None:
    found = objective.advantages(REWARDS, own(advantage_baseline="group", advantage_scale="none"))
    close(found, [[0.5, -0.5, -0.5, 0.5], [-0.25, -0.25, -0.25, 0.75]])


def test_baseline_of_the_others() -> None:
    found = objective.advantages(REWARDS, own(advantage_baseline="leave_one_out", advantage_scale="none"))
    close(found, [[2 / 3, -2 / 3, -2 / 3, 2 / 3], [-1 / 3, -1 / 3, -1 / 3, 1.0]])


def test_baseline_of_the_step_and_none() -> None:
    close(objective.advantages(REWARDS, own(advantage_baseline="batch", advantage_scale="none")), REWARDS - 0.375)
    close(objective.advantages(REWARDS, own(advantage_baseline="none", advantage_scale="none")), REWARDS)


def test_scales() -> None:
    group, batch = (
        objective.advantages(REWARDS.double(), own(advantage_scale=scale)).numpy() for scale in ("group", "batch")
    )
    plain = REWARDS.numpy() - REWARDS.numpy().mean(1, keepdims=True)
    np.testing.assert_allclose(group, plain / (REWARDS.numpy().std(1, ddof=1, keepdims=True) + 1e-4), rtol=1e-5)
    np.testing.assert_allclose(batch, plain / (REWARDS.numpy().std(ddof=1) + 1e-4), rtol=1e-5)


def test_a_group_without_differences_teaches_nothing() -> None:
    close(objective.advantages(torch.ones(2, 4), own()), np.zeros((2, 4)))


def test_ratios_of_tokens_and_of_completions() -> None:
    close(objective.ratios(LOG_PROBS, OLD, MASK, own(ratio="token")), np.exp(LOG_PROBS - OLD))
    lengths = [(0.5 + 0.0 - 1.0) / 3, (0.2 + 0.1) / 2]
    close(objective.ratios(LOG_PROBS, OLD, MASK, own(ratio="sequence")), np.exp(lengths)[:, None])


def test_clip_is_ppos_with_two_bounds() -> None:
    found = objective.token_losses(LOG_PROBS, OLD, GAINS, MASK, own(clip_low=0.2, clip_high=0.3))
    ratio = np.exp((LOG_PROBS - OLD).numpy())
    gains = GAINS.numpy()
    close(found, -np.minimum(ratio * gains, np.clip(ratio, 0.8, 1.3) * gains))


def test_clip_stops_the_gradient_beyond_its_bounds() -> None:
    log_probs = LOG_PROBS.clone().requires_grad_()
    objective.token_losses(log_probs, OLD, GAINS, MASK, own(clip_low=0.2, clip_high=0.2)).sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    assert log_probs.grad[0, 0] == 0.0  # better, and already 1.6 times as likely
    assert log_probs.grad[0, 2] != 0.0  # better, and less likely than it was


def test_cispo_clips_the_weight_and_keeps_every_gradient() -> None:
    log_probs = LOG_PROBS.clone().requires_grad_()
    objective.token_losses(log_probs, OLD, GAINS, MASK, own(loss="cispo", clip_high=0.2)).sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    close(log_probs.grad, -np.minimum(np.exp((LOG_PROBS - OLD).numpy()), 1.2) * GAINS.numpy())


def test_reinforce_and_imitation() -> None:
    close(objective.token_losses(LOG_PROBS, OLD, GAINS, MASK, own(loss="reinforce")), -(GAINS * LOG_PROBS))
    found = objective.token_losses(LOG_PROBS, OLD, GAINS, MASK, own(loss="imitation"))
    close(found, torch.stack([-LOG_PROBS[0], torch.zeros(3, dtype=torch.float64)]))


@pytest.mark.parametrize("kind", ["reverse_kl", "forward_kl", "jensen_shannon"])
def test_divergences_are_those_of_torch(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    log_p, log_q = (torch.randn(2, 3, 5, generator=generator).double().log_softmax(-1) for _ in range(2))

    def kl(a: Tensor, b: Tensor) -> Tensor:
        return torch.nn.functional.kl_div(b, a, log_target=True, reduction="none").sum(-1)

    middle = (0.5 * (log_p.exp() + log_q.exp())).log()
    expected = {
        "reverse_kl": kl(log_p, log_q),
        "forward_kl": kl(log_q, log_p),
        "jensen_shannon": 0.5 * kl(log_p, middle) + 0.5 * kl(log_q, middle),
    }[kind]
    close(objective.divergences(log_p, log_q, kind), expected)
    close(objective.divergences(log_p, log_p, kind), np.zeros((2, 3)))


def test_aggregations() -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 99.0]], dtype=torch.float64)
    how: dict[str, float] = {"rows": 2.0, "tokens": 5.0}
    close(objective.aggregate(losses, MASK, own(aggregation="sequence"), **how), (2.0 + 15.0) / 2)
    close(objective.aggregate(losses, MASK, own(aggregation="token"), **how), 36.0 / 5)
    close(objective.aggregate(losses, MASK, own(aggregation="constant", max_tokens=10), **how), 36.0 / 20)


def test_the_temperature_falls_along_a_completion_and_no_further() -> None:
    at = objective.temperature(own(temperature=1.2, temperature_end=0.6, temperature_decay=8.0))
    assert at(0) == pytest.approx(1.2)
    assert at(2) == pytest.approx(1 + 1.2 - math.exp(0.25))
    assert at(10**6) == 0.6
    assert objective.temperature(own(temperature=1.3))(50) == 1.3


def test_the_penalty_rises_over_the_buffer() -> None:
    found = objective.overlong_penalty(torch.tensor([1.0, 20.0, 24.0, 28.0]), own(max_tokens=28, overlong_buffer=8))
    close(found, [0.0, 0.0, -0.5, -1.0])


@pytest.mark.parametrize(("keep", "count"), [(0.5, 4), (0.4, 3), (0.01, 2), (1.0, 8)])
def test_the_best_and_the_worst_are_kept(keep: float, count: int) -> None:
    rewards = torch.arange(8.0).repeat(3, 1)[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    chosen = objective.best_and_worst(rewards, own(filter_keep=keep), torch.Generator().manual_seed(0))
    for row, which in zip(rewards, chosen, strict=True):
        best, worst = (count + 1) // 2, count // 2
        assert sorted(row[which].tolist()) == [*range(worst), *range(8 - best, 8)]


def test_pass_at_k_is_unbiased() -> None:
    """Among all choices of k of n completions, the share that has a right one."""
    from itertools import combinations

    right = torch.tensor([[True, False, False, True, False, False], [False] * 6, [True] * 6])
    for k in (1, 2, 4, 6):
        expected = [np.mean([any(row[list(c)]) for c in combinations(range(6), k)]) for row in right.numpy()]
        close(objective.pass_at_k(right, k), expected)
