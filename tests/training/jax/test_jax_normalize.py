"""Normalization in JAX is that of Stable-Baselines3's VecNormalize."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from autorl.training.jax import normalize

FEATURES, N_ENVS, GAMMA = 3, 4, 0.9


class Wild(gym.Env[np.ndarray, int]):
    """Observations and rewards of all sizes, and episodes of all lengths."""

    observation_space = spaces.Box(-np.inf, np.inf, (FEATURES,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, Any]:
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = 50.0 + 100.0 * float(self.np_random.standard_t(2.0))
        return self._seen(), reward, bool(self.np_random.random() < 0.1), bool(self.np_random.random() < 0.1), {}

    def _seen(self) -> np.ndarray:
        scale, centre = np.array([1e-2, 1.0, 30.0]), np.array([0.0, 5.0, -200.0])
        return (centre + scale * self.np_random.standard_t(2.0, FEATURES)).astype(np.float32)


class Kept(DummyVecEnv):
    """Remembers what it put out, as it was before it was normalized."""

    def step_wait(self) -> Any:
        self.out = super().step_wait()
        self.finals = [info.get("terminal_observation") for info in self.out[3]]
        return self.out


@pytest.mark.parametrize(
    "scaling",
    [
        normalize.Scaling(),
        normalize.Scaling(clip_observations=1.5, clip_rewards=0.5, epsilon=0.1),
        normalize.Scaling(observations=False),
        normalize.Scaling(rewards=False),
    ],
)
def test_observations_and_rewards_are_normalized_as_sb3s(scaling: normalize.Scaling) -> None:
    plain = Kept([Wild] * N_ENVS)
    plain.seed(0)
    env = VecNormalize(
        plain,
        norm_obs=scaling.observations,
        norm_reward=scaling.rewards,
        clip_obs=scaling.clip_observations,
        clip_reward=scaling.clip_rewards,
        gamma=GAMMA,
        epsilon=scaling.epsilon,
    )

    def close(ours: Any, theirs: Any) -> bool:
        return np.allclose(ours, theirs, rtol=1e-5, atol=1e-5)

    theirs = env.reset()
    state = normalize.see(normalize.begin(FEATURES, N_ENVS), env.get_original_obs(), scaling)
    assert close(normalize.normalize(state.observations, env.get_original_obs(), scaling), theirs)
    ended = 0
    for _ in range(60):
        theirs, their_rewards, dones, infos = env.step(np.zeros(N_ENVS, int))
        seen, rewards, *_ = plain.out
        state = normalize.see(state, jnp.asarray(seen), scaling)
        state, ours = normalize.see_rewards(state, jnp.asarray(rewards), jnp.asarray(dones), GAMMA, scaling)
        assert close(normalize.normalize(state.observations, seen, scaling), theirs)
        assert close(ours, their_rewards)
        for index in np.flatnonzero(dones):
            final = normalize.normalize(state.observations, plain.finals[index], scaling)
            assert close(final, infos[index]["terminal_observation"])
            ended += 1
    assert ended > 10
    if scaling.observations:
        assert np.abs(theirs).max() <= scaling.clip_observations
        assert np.allclose(state.observations.mean, env.obs_rms.mean, rtol=1e-5)
        assert np.allclose(state.observations.var, env.obs_rms.var, rtol=1e-4)


def test_moments_are_those_of_all_batches() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(3.0, 2.0, (size, FEATURES)).astype(np.float32) for size in (1, 7, 2, 500, 1)]
    theirs, ours = RunningMeanStd(shape=(FEATURES,)), normalize.begin(FEATURES, 1).observations
    for batch in batches:
        theirs.update(batch)
        ours = normalize.update(ours, jnp.asarray(batch))
    for field, value in (("mean", theirs.mean), ("var", theirs.var)):
        assert np.allclose(getattr(ours, field), value, rtol=1e-5), field
    assert int(ours.seen) == round(theirs.count)
    together = np.concatenate(batches)
    assert np.allclose(ours.mean, together.mean(axis=0), rtol=1e-5)
    assert np.allclose(ours.var, together.var(axis=0), rtol=1e-3)


def test_moments_move_on_after_many_steps_far_from_zero() -> None:
    rng, steps, far = np.random.default_rng(0), 400_000, 300.0
    # A mean of 300 standard deviations would stand still after 30,000 steps if it were added to as it is.
    data = (far + rng.standard_normal((steps, 1, 1))).astype(np.float32)
    data[steps // 2 :] += 3.0
    begun = normalize.begin(1, 1).observations
    ours, _ = jax.lax.scan(lambda now, batch: (normalize.update(now, batch), None), begun, jnp.asarray(data))
    exact = data.astype(np.float64)
    assert float(ours.mean[0]) == pytest.approx(exact.mean(), abs=0.01)
    assert float(ours.var[0]) == pytest.approx(exact.var(), rel=0.01)
