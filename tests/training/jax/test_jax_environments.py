"""Compiled environments are Gymnasium's: the same transitions, ends and first states."""

from __future__ import annotations

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from autorl.training.jax.environments import COMPILED, compiled, spaces

_ROAD = ("position", "velocity"), ([[-1.2, -0.07], [0.6, 0.07]], [[-1.2, -0.07], [-1.1, 0.07]])
# Of each environment: its state's fields, and boxes of states of episodes under way, by their ends: all that there are,
# and those around what is rare among them, where an episode ends or a wall stops the car.
STATES = {
    "Acrobot-v1": (("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"), ([3.14, 3.14, 12.5, 28.2],)),
    "CartPole-v1": (("x", "x_dot", "theta", "theta_dot"), ([2.4, 3.0, 0.209, 3.0],)),
    "MountainCar-v0": _ROAD,
    "MountainCarContinuous-v0": _ROAD,
    "Pendulum-v1": (("theta", "theta_dot"), ([3.14, 8.0],)),
}
STEPS = 400


@pytest.mark.parametrize("env_id", COMPILED)
def test_transitions_are_gymnasiums(env_id: str) -> None:
    env, theirs = compiled(env_id), gym.make(env_id).unwrapped
    fields, boxes = STATES[env_id]
    rng = np.random.default_rng(0)
    theirs.reset(seed=0)
    theirs.action_space.seed(0)
    ends = [(box if np.ndim(box) == 2 else (np.negative(box), box)) for box in boxes]
    states = np.concatenate([rng.uniform(low, high, (STEPS, len(fields))) for low, high in ends])
    actions = np.array([theirs.action_space.sample() for _ in states])
    expected = []
    for state, action in zip(states, actions, strict=True):
        theirs.reset()
        theirs.state = state.astype(np.float64)  # type: ignore[attr-defined]
        observation, reward, over, *_ = theirs.step(action)
        expected.append((observation, reward, over))
    _, begun = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(0), len(states)))
    begun = begun.replace(**{name: jnp.asarray(states[:, i], jnp.float32) for i, name in enumerate(fields)})
    played = jnp.asarray(actions.reshape(len(states), -1))
    observations, _, rewards, over = jax.vmap(env.step)(begun, played)
    seen, paid, ended = (np.array(column) for column in zip(*expected, strict=True))
    agree = np.asarray(over) == ended
    assert agree.mean() >= 0.995  # a state within float32's rounding of a threshold may differ
    assert ended.any() == (env_id != "Pendulum-v1")
    np.testing.assert_allclose(np.asarray(rewards)[agree], paid[agree], rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(np.asarray(observations)[agree], seen[agree], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("env_id", COMPILED)
def test_episodes_begin_as_gymnasiums(env_id: str) -> None:
    env, theirs = compiled(env_id), gym.make(env_id)
    ours, _ = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(1), 1000))
    expected = np.array([theirs.reset(seed=seed)[0] for seed in range(1000)])
    for feature in range(env.features):
        found = stats.ks_2samp(np.asarray(ours)[:, feature], expected[:, feature])
        assert found.pvalue > 1e-4


@pytest.mark.parametrize("env_id", COMPILED)
def test_spaces_and_limits_are_gymnasiums(env_id: str) -> None:
    theirs = gym.make(env_id)
    assert (compiled(env_id).features, compiled(env_id).space) == spaces(theirs)
    assert compiled(env_id).limit == gym.spec(env_id).max_episode_steps


def test_spaces_that_no_network_takes_are_refused() -> None:
    images = gym.spaces.Box(0, 255, (3, 8, 8), np.uint8)

    class Pictures(gym.Env):  # type: ignore[type-arg]
        observation_space, action_space = images, gym.spaces.Discrete(2)

    with pytest.raises(ValueError, match="use backend sb3"):
        spaces(Pictures())

    class Endless(gym.Env):  # type: ignore[type-arg]
        observation_space = action_space = gym.spaces.Box(-np.inf, np.inf, (2,))

    with pytest.raises(ValueError, match="need finite bounds"):
        spaces(Endless())
