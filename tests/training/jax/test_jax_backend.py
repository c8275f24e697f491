"""The JAX backend keeps the promises of every backend, with either engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conformance.backends import BackendConformance

from autorl.training.jax import JaxBackend
from autorl.trial import Recipe

SMALL = {"n_envs": 2, "n_steps": 16, "batch_size": 16, "n_epochs": 2}
NET = {"net_arch": [8]}
NORMALIZED = {"n_envs": 2, "normalize": True}
OFF = {"n_envs": 2, "batch_size": 8, "learning_starts": 40, "train_freq": 2, "gradient_steps": 2, "buffer_size": 120}
RECIPES = {
    "ppo": Recipe("jax", "ppo", SMALL, NET, "CartPole-v1", {}, (), 256, 4, 3, True),
    "a2c": Recipe("jax", "a2c", NORMALIZED, NET, "Pendulum-v1", {}, (), 240, 4, 3, False),
    "dqn": Recipe("jax", "dqn", {**OFF, "target_update_interval": 20}, NET, "CartPole-v1", {}, (), 240, 4, 3, True),
    "sac": Recipe("jax", "sac", OFF, NET, "Pendulum-v1", {}, (), 240, 4, 3, False),
    "td3": Recipe("jax", "td3", {**OFF, "noise_type": "normal"}, NET, "Pendulum-v1", {}, (), 240, 4, 3, True),
}
RECIPES |= {f"{name}, host": replace(recipe, engine="host") for name, recipe in RECIPES.items()}
RECIPES["lander"] = replace(RECIPES["ppo"], env="LunarLander-v3", hyperparameters={**SMALL, "normalize": True})
BROKEN = replace(RECIPES["ppo"], env="probe_envs:autorl-tests/Broken-v0", env_kwargs={"how": "raise"})


@pytest.fixture
def backend() -> JaxBackend:
    return JaxBackend()


class TestJax(BackendConformance):
    @pytest.fixture(params=RECIPES)
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return RECIPES[request.param]

    @pytest.fixture
    def failing(self) -> Recipe:
        return BROKEN
