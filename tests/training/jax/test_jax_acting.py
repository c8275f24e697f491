"""Policies act in NumPy as they do in JAX, and environments without Gymnasium's wrappers go on as they do with them."""

from functools import partial

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autorl.training.jax import distributions, networks, on_policy
from autorl.training.jax.acting import ACTIVATIONS, HostPolicy
from autorl.training.jax.distributions import ActionSpace
from autorl.training.jax.on_policy import OnPolicy
from autorl.training.jax.vector import trained_in
from autorl.training.tasks import make_env

LANES, N_ENVS, FEATURES = 3, 5, 4
SPACES = {
    "discrete": ActionSpace((4,)),
    "multi-discrete": ActionSpace((2, 3)),
    "box": ActionSpace(low=(-1.0, -2.0), high=(1.0, 2.0)),
}


def test_numpy_has_every_activation() -> None:
    assert ACTIVATIONS.keys() == networks.ACTIVATIONS.keys()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_those_of_jax(activation: str) -> None:
    x = np.linspace(-8.0, 8.0, 801, dtype=np.float32)
    found = ACTIVATIONS[activation](x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, networks.ACTIVATIONS[activation](x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
@pytest.mark.parametrize("kind", SPACES)
def test_numpy_acts_as_jax_does(kind: str, hidden: tuple[int, ...]) -> None:
    space = SPACES[kind]
    shape = OnPolicy(FEATURES, space, hidden, hidden, "tanh", False, N_ENVS, 8, 8, 1, False, True, False, False)
    begin = partial(on_policy.begin, shape=shape, numbers={"log_std_init": jnp.asarray(-0.5)})
    policy = jax.vmap(begin)(jax.random.split(jax.random.key(0), LANES)).policy
    observations = jax.random.normal(jax.random.key(1), (LANES, N_ENVS, FEATURES))
    drawn = distributions.noise(jax.random.key(2), space, (LANES, N_ENVS))
    expected = jax.vmap(lambda own, x, noise: on_policy.act(own, x, shape, noise))(policy, observations, drawn)
    found = HostPolicy(policy, shape).act(np.asarray(observations), np.asarray(drawn))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kwargs", [{}, {"max_episode_steps": 7}])
def test_training_goes_through_the_episodes_of_the_wrapped_environment(kwargs: dict[str, int]) -> None:
    wrapped, bare = (make(make_env("CartPole-v1", kwargs, [])) for make in (lambda env: env, trained_in))
    assert isinstance(wrapped, gym.wrappers.TimeLimit)
    assert bare.env is bare.unwrapped
    first = [env.reset(seed=3)[0] for env in (wrapped, bare)]
    np.testing.assert_array_equal(*first)
    for number in range(60):
        (seen, *told, _), (also, *said, _) = (env.step(np.int64(number % 2)) for env in (wrapped, bare))
        np.testing.assert_array_equal(seen, also)
        assert told == said
        if any(told[1:]):
            np.testing.assert_array_equal(wrapped.reset()[0], bare.reset()[0])


def test_the_users_wrappers_stay_around_an_environment_and_its_time_limit() -> None:
    env = trained_in(make_env("CartPole-v1", {}, ["gymnasium.wrappers:RecordEpisodeStatistics"]))
    assert isinstance(env.env, gym.wrappers.RecordEpisodeStatistics)
    assert isinstance(env.env.env, gym.wrappers.TimeLimit)
