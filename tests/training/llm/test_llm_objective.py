"""Each switch of the recipe is its paper's equation, worked out by hand or by another road."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autorl.training.llm import objective, selection
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


def test_oreal_imitates_what_is_right_and_pushes_off_what_is_wrong() -> None:
    found = objective.token_losses(LOG_PROBS, OLD, GAINS, MASK, own(loss="oreal", negative_coef=0.5))
    ratio = np.exp((LOG_PROBS - OLD).numpy())
    close(found, np.stack([-LOG_PROBS[0].numpy(), -0.5 * ratio[1] * -2.0]))


def test_pacs_is_the_cross_entropy_of_scores_beside_the_others() -> None:
    differences = torch.tensor([[0.3, -0.1, 0.2], [0.0, 0.0, 0.0]], dtype=torch.float64)
    rewards = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    found = objective.pacs(differences, rewards, own(score_scale=2.0))
    scores = 2.0 * np.array([0.3 - 0.05, -0.1 - 0.25, 0.2 - 0.1])
    chances = 1 / (1 + np.exp(-scores))
    close(found, [[-np.log(chances[0]), -np.log(1 - chances[1]), -np.log(1 - chances[2])], [math.log(2)] * 3])


def test_rover_has_an_equation_of_its_own_for_what_a_reward_is_worth() -> None:
    found = objective.advantages(REWARDS, own(loss="rover", advantage_scale="group", advantage_baseline="none"))
    close(found, [[0.5, -0.5, -0.5, 0.5], [-0.25, -0.25, -0.25, 0.75]])


def test_rovers_target_is_the_reward_and_the_mean_value_of_what_may_follow() -> None:
    generator = torch.Generator().manual_seed(0)
    log_p, old = (torch.randn(2, 3, 4, generator=generator).double().log_softmax(-1) for _ in range(2))
    log_p, old = (torch.cat([torch.full((2, 3, 1), -1e9).double(), x], -1) for x in (log_p, old))  # padding
    tokens = torch.tensor([[1, 2, 3], [4, 1, 0]])
    log_p.requires_grad_()
    found = objective.rover(log_p, old, tokens, GAINS, MASK, own(score_scale=0.5))
    q = 0.5 * (log_p - old).detach().numpy()[:, :, 1:]
    own_value = [[q[r, t, max(0, int(tokens[r, t]) - 1)] for t in range(3)] for r in range(2)]
    after = [[q[0, 1].mean(), q[0, 2].mean(), 0.0], [q[1, 1].mean(), 0.0, 0.0]]
    expected = (np.array(own_value) - (GAINS.numpy() + after)) ** 2
    close(found * MASK, expected * MASK.numpy())
    (found * MASK).sum().backward()
    assert log_p.grad is not None
    assert torch.count_nonzero(log_p.grad) == 5  # of the tokens drawn alone, none through the target


def test_generalized_advantages_are_those_of_stable_baselines3() -> None:
    from stable_baselines3.common.buffers import RolloutBuffer

    lam, rewards = 0.9, torch.tensor([1.0, 0.0])
    values = torch.tensor([[0.1, 0.4, 0.7], [0.5, 0.2, 0.0]])
    found, returns = objective.generalized(
        rewards, values, MASK.float(), own(advantage_baseline="critic", advantage_scale="none", gae_lambda=lam)
    )
    from gymnasium.spaces import Discrete

    for row, length in enumerate((3, 2)):
        buffer = RolloutBuffer(length, Discrete(2), Discrete(2), "cpu", gae_lambda=lam, gamma=1.0)
        for t in range(length):
            last = np.array([float(rewards[row]) if t == length - 1 else 0.0])
            buffer.add(np.zeros(1), np.zeros(1), last, np.array([t == 0]), values[row, t : t + 1], torch.zeros(1))
        buffer.compute_returns_and_advantage(torch.zeros(1), np.array([1.0]))
        close(found[row, :length], buffer.advantages[:, 0])
        close(returns[row, :length], buffer.returns[:, 0])
    assert found[1, 2] == returns[1, 2] == 0.0


def test_advantages_of_a_critic_are_scaled_over_the_tokens_of_the_step() -> None:
    recipe = {"advantage_baseline": "critic", "gae_lambda": 1.0}
    values = torch.tensor([[0.1, 0.4, 0.7], [0.5, 0.2, 0.0]])
    plain, _ = objective.generalized(REWARDS[0, :2], values, MASK.float(), own(advantage_scale="none", **recipe))
    scaled, _ = objective.generalized(REWARDS[0, :2], values, MASK.float(), own(advantage_scale="batch", **recipe))
    close(plain[0], 1.0 - values[0])  # with lambda 1, what is to come less what was expected
    close(scaled, plain / (np.array([0.9, 0.6, 0.3, -0.5, -0.2]).std(ddof=1) + 1e-4))


def test_rare_but_plausible_tokens_of_failures_are_protected() -> None:
    """Over one minibatch: the token drawn is the rarest in rows 0 and 1, of which only row 1 failed."""
    chances = torch.tensor([[[0.90, 0.06, 0.04]], [[0.90, 0.05, 0.05]], [[0.9, 0.05, 0.05]], [[0.98, 0.01, 0.01]]])
    tokens, gains = torch.tensor([[2], [1], [0], [1]]), torch.tensor([[1.0], [-1.0], [-1.0], [-1.0]])
    recipe = own(lp_coef=1.0, lp_share=0.9, lp_least=0.02)
    log_p = chances.double().log().requires_grad_()
    found = objective.rare_tokens(log_p, tokens, gains, torch.ones(4, 1), recipe)
    assert found[0, 0] == 0.0  # better than others
    close(found[1, 0], 0.0)  # protected; the proxy is the policy, since nothing of it is absurd
    assert found[3, 0] == 0.0  # 0.01 of 0.98 is absurd
    found.sum().backward()
    assert log_p.grad is not None
    close(log_p.grad[1, 0], -chances[1, 0])  # towards the proxy
    assert not log_p.grad[[0, 2, 3]].any()


def test_the_proxy_is_the_policy_without_what_is_absurd() -> None:
    log_p = torch.tensor([[[0.8, 0.18, 0.019, 0.001]]]).double().log()
    found = objective.rare_tokens(log_p, torch.tensor([[2]]), -torch.ones(1, 1), torch.ones(1, 1), own(lp_least=0.02))
    close(found, [[-math.log(0.999)]])


def test_the_teachers_coefficient_falls_along_a_line() -> None:
    recipe = own(teacher_coef=5e-3, teacher_coef_end=1e-3)
    assert objective.teacher_coefficient(recipe, 0.0) == 5e-3
    assert objective.teacher_coefficient(recipe, 0.5) == pytest.approx(3e-3)
    assert objective.teacher_coefficient(recipe, 1.2) == pytest.approx(1e-3)
    assert objective.teacher_coefficient(own(teacher_coef=5e-3), 0.5) == 5e-3


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
    found = selection.overlong_penalty(torch.tensor([1.0, 20.0, 24.0, 28.0]), own(max_tokens=28, overlong_buffer=8))
    close(found, [0.0, 0.0, -0.5, -1.0])


@pytest.mark.parametrize(("keep", "count"), [(0.5, 4), (0.4, 3), (0.25, 2), (1.0, 8)])
def test_the_best_and_the_worst_are_kept(keep: float, count: int) -> None:
    rewards = torch.arange(8.0).repeat(3, 1)[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    recipe = own(group_filter="best_worst", filter_keep=keep)
    chosen = selection.chosen(rewards, rewards >= 1, torch.zeros(3, 8), recipe, torch.Generator().manual_seed(0))
    for row, which in zip(rewards, chosen, strict=True):
        best, worst = (count + 1) // 2, count // 2
        assert sorted(row[which].tolist()) == [*range(worst), *range(8 - best, 8)]


def test_right_answers_are_kept_the_likelier_the_fewer_their_flaws() -> None:
    right = torch.tensor([[True] * 4 + [False] * 4]).repeat(4000, 1)
    flaws = torch.tensor([[0.25, 0.5, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0]]).repeat(4000, 1)
    recipe = own(group_filter="on_correct", filter_keep=0.25, rollouts=8)
    kept = selection.chosen(right.float(), right, flaws, recipe, torch.Generator().manual_seed(0))
    assert (kept & right).sum(1).eq(1).all()
    assert (kept & ~right).sum(1).eq(1).all()
    shares = kept.double().mean(0)
    np.testing.assert_allclose(shares[:4], np.array([4, 2, 2, 1]) / 9, atol=0.03)
    np.testing.assert_allclose(shares[4:], 0.25, atol=0.03)


@pytest.mark.parametrize("count", range(9))
def test_as_many_of_each_group_are_kept_however_many_are_right(count: int) -> None:
    right = torch.arange(8)[None] < count
    recipe = own(group_filter="on_correct", filter_keep=0.5, rollouts=8)
    kept = selection.chosen(right.float(), right, torch.zeros(1, 8), recipe, torch.Generator().manual_seed(0))
    assert kept.sum() == 4
    assert abs(int((kept & right).sum()) - count / 2) <= 0.5


def test_flaws_are_taken_off_right_answers_alone() -> None:
    right, flaws = torch.tensor([[True, True, False]]), torch.tensor([[0.0, 0.5, 1.0]])
    close(selection.flaw_penalty(right, flaws, own(flaw_penalty=0.4)), [[0.0, -0.2, 0.0]])


def test_pass_at_k_is_unbiased() -> None:
    """Among all choices of k of n completions, the share that has a right one."""
    from itertools import combinations

    right = torch.tensor([[True, False, False, True, False, False], [False] * 6, [True] * 6])
    for k in (1, 2, 4, 6):
        expected = [np.mean([any(row[list(c)]) for c in combinations(range(6), k)]) for row in right.numpy()]
        close(objective.pass_at_k(right, k), expected)
