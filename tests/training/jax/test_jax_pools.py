"""Environments of envpool are Gymnasium's: the same transitions, ends, limits and first states."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.box2d.lunar_lander import heuristic
from numpy.typing import NDArray
from scipy import stats

from autorl.training.jax.environments import spaces
from autorl.training.jax.pools import POOLED, Pool

pytest.importorskip("envpool")

FIELDS = ("Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0")


def state(env_id: str, observation: NDArray[Any]) -> NDArray[np.float64]:
    """Return the state of a classic environment that has this observation."""
    seen = observation.astype(np.float64)
    if env_id == "Acrobot-v1":
        return np.array([np.arctan2(seen[1], seen[0]), np.arctan2(seen[3], seen[2]), seen[4], seen[5]])
    return seen


def put(env_id: str, env: Any, observation: NDArray[Any]) -> None:
    """Bring Gymnasium's environment into the state that has this observation."""
    if env_id in FIELDS:
        env.state = state(env_id, observation)
    else:
        positions = env.model.nq - 1
        env.set_state(np.concatenate([[0.0], observation[:positions]]), observation[positions:].astype(np.float64))


def pooled(env_id: str, copies: int) -> tuple[Pool, gym.Env[Any, Any]]:
    theirs = gym.make(env_id)
    made = Pool(env_id, 1, 1, copies, spaces(theirs)[0])
    made.reset([7])
    return made, theirs


@pytest.mark.parametrize("env_id", [name for name in POOLED if name != "LunarLander-v3"])
def test_transitions_are_gymnasiums(env_id: str) -> None:
    ours, theirs = pooled(env_id, 8)
    theirs.reset(seed=0)
    theirs.action_space.seed(0)
    for _ in range(60):
        before = ours.observations[0].copy()
        actions = np.array([theirs.action_space.sample() for _ in range(8)])
        ours.step(actions.reshape(1, 8, -1))
        for copy, action in enumerate(actions):
            theirs.reset()
            put(env_id, theirs.unwrapped, before[copy])
            observation, reward, over, *_ = theirs.step(action)
            seen = ours.finals if ours.dones[0, copy] else ours.observations
            assert bool(over) == bool(ours.dones[0, copy])
            # The warm start of MuJoCo's solver is not part of an observation.
            rough = {"rtol": 2e-2, "atol": 2e-2} if env_id == "HalfCheetah-v5" else {"rtol": 1e-3, "atol": 1e-3}
            np.testing.assert_allclose(seen[0, copy], observation, **rough)
            assert ours.rewards[0, copy] == pytest.approx(reward, rel=1e-2, abs=1e-3)


LANDER = gym.make("LunarLander-v3").unwrapped
POLICIES = {
    "at random": lambda observation, rng: int(rng.integers(4)),
    "as its authors land": lambda observation, rng: int(heuristic(LANDER, observation)),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_lander_flies_as_gymnasiums(policy: str) -> None:
    """Box2D's state cannot be set from an observation: episodes are compared in distribution, under two policies."""
    choose, count, rng = POLICIES[policy], 150, np.random.default_rng(0)
    ours, theirs = pooled("LunarLander-v3", count)
    found: dict[int, tuple[float, int]] = {}
    total, steps = np.zeros(count), 0
    while len(found) < count:
        ours.step(np.array([[[choose(seen, rng)] for seen in ours.observations[0]]]))
        total, steps = total + ours.rewards[0], steps + 1
        for copy in np.flatnonzero(ours.dones[0]):
            found.setdefault(copy, (float(total[copy]), steps))
    expected = []
    for seed in range(count):
        seen, _ = theirs.reset(seed=seed)
        score, length, over = 0.0, 0, False
        while not over:
            seen, reward, terminated, truncated, _ = theirs.step(choose(seen, rng))
            score, length, over = score + float(reward), length + 1, terminated or truncated
        expected.append((score, length))
    for own, other in zip(zip(*found.values(), strict=True), zip(*expected, strict=True), strict=True):
        assert stats.ks_2samp(own, other).pvalue > 1e-3


@pytest.mark.parametrize("env_id", POOLED)
def test_episodes_begin_as_gymnasiums(env_id: str) -> None:
    ours, theirs = pooled(env_id, 500)
    expected = np.array([theirs.reset(seed=seed)[0] for seed in range(500)])
    for own, other in zip(ours.observations[0].T, expected.T, strict=True):
        assert stats.ks_2samp(own, other).pvalue > 1e-4


def lasting(env_id: str, seen: NDArray[Any]) -> Any:
    """Return an action under which an episode lasts: balancing, hovering where the ground is not, or nothing."""
    if env_id == "CartPole-v1":
        return int(seen @ np.array([0.1, 0.3, 1.5, 1.0]) > 0)
    if env_id == "LunarLander-v3":
        return heuristic(LANDER, np.array([seen[0], seen[1] - 0.7, *seen[2:6], 0.0, 0.0]))
    return 1 if env_id in ("Acrobot-v1", "MountainCar-v0") else np.zeros(6 if env_id == "HalfCheetah-v5" else 1)


@pytest.mark.parametrize("env_id", POOLED)
def test_time_limits_are_gymnasiums(env_id: str) -> None:
    ours, _ = pooled(env_id, 1)
    limit = gym.spec(env_id).max_episode_steps
    assert limit is not None
    for step in range(1, limit + 1):
        ours.step(np.reshape(lasting(env_id, ours.observations[0, 0]), (1, 1, -1)))
        assert bool(ours.dones[0, 0]) == (step == limit)
    assert ours.truncated[0, 0]


def test_what_was_played_leads_to_where_it_was() -> None:
    first, again = (Pool("LunarLander-v3", 2, 4, 3, 8) for _ in range(2))
    first.reset([7, 30])
    rng = np.random.default_rng(0)
    for _ in range(300):
        first.step(rng.integers(0, 4, (4, 3, 1)))
    stored = [first.episodes(run) for run in range(2)]
    assert again.replay(stored) == [True, True]
    for _ in range(50):
        actions = rng.integers(0, 4, (4, 3, 1))
        for each in (first, again):
            each.step(actions)
        np.testing.assert_array_equal(first.observations, again.observations)
    assert again.replay([stored[0], {**stored[1], "seed": 8}]) == [True, False]


def test_runs_of_a_pool_do_not_touch_each_other() -> None:
    """A run's environments are those that it would have alone, and go on if another's policy diverges."""
    alone, first, beside = (Pool("MountainCarContinuous-v0", runs, 4, 3, 2) for runs in (1, 1, 3))
    alone.reset([30])
    first.reset([7])
    beside.reset([7, 30, 50])
    rng = np.random.default_rng(0)
    for step in range(1_200):
        actions = rng.uniform(-1, 1, (4, 3, 1)).astype(np.float32)
        given = actions.copy()
        if step == 20:
            actions[0] = np.nan
        beside.step(actions)
        alone.step(given[[1, 0, 0, 0]])
        if step < 20:
            first.step(given)
            np.testing.assert_array_equal(beside.observations[0], first.observations[0])
        for ours in ("observations", "rewards", "dones", "truncated", "finals"):
            np.testing.assert_array_equal(getattr(beside, ours)[1], getattr(alone, ours)[0])
    assert list(beside.errors) == [0]
    assert not beside.observations[3].any()
