"""PPO and A2C in JAX learn what Stable-Baselines3's learn: the same weights from the same rollouts and permutations."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper
from torch import nn

from autorl.training.jax import distributions, networks, on_policy
from autorl.training.jax.distributions import ActionSpace

FEATURES, N_ENVS, N_STEPS, RATE = 3, 3, 16, 2e-3
SPACES: dict[str, tuple[gym.Space[Any], ActionSpace]] = {
    "discrete": (spaces.Discrete(4), ActionSpace(choices=(4,))),
    "box": (spaces.Box(-1.0, 2.0, (2,), np.float32), ActionSpace(low=(-1.0, -1.0), high=(2.0, 2.0))),
    "multi": (spaces.MultiDiscrete([3, 2, 4]), ActionSpace(choices=(3, 2, 4))),
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
NUMBERS = {
    "learning_rate": RATE,
    "learning_rate_linear": 1.0,
    "clip_range": 0.2,
    "clip_range_linear": 1.0,
    "clip_range_vf": 0.3,
    "clip_range_vf_linear": 1.0,
    "gamma": 0.95,
    "gae_lambda": 0.9,
    "ent_coef": 0.02,
    "vf_coef": 0.6,
    "max_grad_norm": 0.5,
    "log_std_init": -0.3,
    "rms_prop_eps": 1e-4,
    "target_kl": 0.02,
}

# Smaller last minibatches are meant.
pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")


class Random(gym.Env[np.ndarray, Any]):
    """Episodes that end, and episodes that are cut off."""

    observation_space = spaces.Box(-5.0, 5.0, (FEATURES,), np.float32)

    def __init__(self, action_space: gym.Space[Any]) -> None:
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, Any]:
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = float(self.np_random.standard_normal() + np.sum(action))
        return self._seen(), reward, bool(self.np_random.random() < 0.15), bool(self.np_random.random() < 0.15), {}

    def _seen(self) -> np.ndarray:
        return self.np_random.uniform(-2.0, 2.0, FEATURES).astype(np.float32)


class Recorded(VecEnvWrapper):
    """Keeps what every step returned."""

    def reset(self) -> Any:
        self.steps: list[tuple[Any, ...]] = []
        return self.venv.reset()

    def step_wait(self) -> Any:
        seen, rewards, dones, infos = self.venv.step_wait()
        truncated = [bool(info["TimeLimit.truncated"]) for info in infos]
        finals = [info.get("terminal_observation", np.zeros(FEATURES)) for info in infos]
        self.steps.append((rewards.copy(), dones.copy(), truncated, finals))
        return seen, rewards, dones, infos


def built(algorithm: type[OnPolicyAlgorithm], space: str, policy: dict[str, Any], **settings: Any) -> Any:
    env = Recorded(DummyVecEnv([lambda: Random(SPACES[space][0])] * N_ENVS))
    given = {name: NUMBERS[name] for name in ("gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm")}
    more = {"log_std_init": NUMBERS["log_std_init"], **policy}
    model: Any = algorithm(
        "MlpPolicy",
        env,
        learning_rate=lambda progress: RATE * progress,
        n_steps=N_STEPS,
        policy_kwargs=more,
        device="cpu",
        seed=1,
        **given,
        **settings,
    )
    with torch.no_grad():  # policies that prefer some actions, so that entropies matter
        for parameter in model.policy.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def rolled_out(model: Any, callback: Any) -> on_policy.Rollout:
    """Let SB3 collect a rollout and return it as JAX's."""
    model.env.steps.clear()
    model.collect_rollouts(model.env, callback, model.rollout_buffer, N_STEPS)
    rewards, dones, truncated, finals = (jnp.asarray(np.stack(part)) for part in zip(*model.env.steps, strict=True))
    assert bool((dones & ~truncated).any())
    assert bool(truncated.any())
    buffer = model.rollout_buffer
    return on_policy.Rollout(
        jnp.array(buffer.observations),
        jnp.array(buffer.actions),
        rewards,
        dones,
        truncated,
        finals,
        jnp.array(model._last_obs),
    )


def weights(model: Any) -> on_policy.Policy:
    def of(*modules: nn.Module) -> networks.Network:
        linear = [part for module in modules for part in module.modules() if isinstance(part, nn.Linear)]
        # Copies, as torch changes its own in place.
        return tuple((jnp.array(p.weight.detach().numpy().T), jnp.array(p.bias.detach().numpy())) for p in linear)

    policy = model.policy
    log_std = jnp.array(policy.log_std.detach().numpy()) if hasattr(policy, "log_std") else jnp.zeros(0)
    extractor = policy.mlp_extractor
    return on_policy.Policy(
        of(extractor.policy_net, policy.action_net), of(extractor.value_net, policy.value_net), log_std
    )


def furthest(a: Any, b: Any) -> float:
    apart = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max(initial=0.0)), a, b)
    return max(jax.tree.leaves(apart))


def numbers(**more: float) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in {**NUMBERS, **more}.items()}


def compare(model: Any, shape: on_policy.OnPolicy, given: dict[str, jax.Array]) -> on_policy.Learner:
    """Let both learn from two rollouts, and compare what they learned."""
    _, callback = model._setup_learn(1000)
    learner = on_policy.begin(jax.random.key(0), shape, given)
    before = weights(model)
    assert jax.tree.map(jnp.shape, learner.policy) == jax.tree.map(jnp.shape, before)
    learner = learner._replace(policy=before)
    update = jax.jit(on_policy.update, static_argnums=2)
    for progress in (1.0, 0.6):
        rollout = rolled_out(model, callback)
        orders: list[np.ndarray] = []
        real = np.random.permutation

        def permutation(size: int, orders: list[np.ndarray] = orders, real: Any = real) -> np.ndarray:
            orders.append(real(size))
            return orders[-1]

        model._current_progress_remaining = progress
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np.random, "permutation", permutation)
            model.train()
        # Of epochs that SB3 did not begin, any order will do.
        orders += [np.arange(shape.steps)] * (shape.n_epochs - len(orders))
        learner = update(learner, rollout, shape, given, jnp.asarray(progress), jnp.asarray(np.stack(orders)))
        after = weights(model)
        assert furthest(learner.policy, after) < 1e-5
        assert furthest(before, after) > 1e-3, "something is learned, or the test shows nothing"
        before = after
    return learner


@pytest.mark.parametrize(
    ("space", "activation", "net_arch", "batch_size", "clip_values", "normalized"),
    [
        ("discrete", "tanh", [16, 16], 16, False, True),
        pytest.param("box", "relu", {"pi": [16], "vf": [8, 8]}, 20, True, True, marks=pytest.mark.slow),
        ("multi", "leaky_relu", {"pi": [], "vf": [8]}, 47, True, True),  # the last minibatch is a single step
        pytest.param("box", "gelu", [8], 48, False, False, marks=pytest.mark.slow),
    ],
)
def test_ppo_updates_as_sb3(
    space: str, activation: str, net_arch: Any, batch_size: int, clip_values: bool, normalized: bool
) -> None:
    model = built(
        PPO,
        space,
        {"net_arch": net_arch, "activation_fn": ACTIVATIONS[activation]},
        batch_size=batch_size,
        n_epochs=3,
        clip_range=lambda progress: NUMBERS["clip_range"] * progress,
        clip_range_vf=(lambda progress: NUMBERS["clip_range_vf"] * progress) if clip_values else None,
        normalize_advantage=normalized,
    )
    compare(
        model,
        shaped(
            space,
            activation,
            net_arch,
            batch_size=batch_size,
            n_epochs=3,
            clip_values=clip_values,
            normalize_advantage=normalized,
        ),
        numbers(),
    )


def shaped(space: str, activation: str, net_arch: Any, **more: Any) -> on_policy.OnPolicy:
    pi, vf = (net_arch["pi"], net_arch["vf"]) if isinstance(net_arch, dict) else (net_arch, net_arch)
    settings: dict[str, Any] = {
        "ortho_init": True,
        "n_envs": N_ENVS,
        "n_steps": N_STEPS,
        "batch_size": 16,
        "n_epochs": 0,
        "rms_prop": False,
        "normalize_advantage": True,
        "clip_values": False,
        "stops_early": False,
        **more,
    }
    return on_policy.OnPolicy(FEATURES, SPACES[space][1], tuple(pi), tuple(vf), activation, **settings)


@pytest.mark.parametrize("target_kl", [pytest.param(0.003, marks=pytest.mark.slow), 0.005])
def test_ppo_stops_early_as_sb3(target_kl: float) -> None:
    policy = {"net_arch": [16], "activation_fn": nn.Tanh}
    model = built(PPO, "box", policy, batch_size=20, n_epochs=10, target_kl=target_kl)
    shape = shaped("box", "tanh", [16], batch_size=20, n_epochs=10, stops_early=True)
    learner = compare(model, shape, numbers(target_kl=target_kl, clip_range_linear=0.0))
    taken = {int(state["step"]) for state in model.policy.optimizer.state.values()}
    assert taken == {int(learner.optimizer.count)}
    steps = taken.pop()
    assert steps < 2 * 3 * 10, "both rollouts were left early"
    assert steps % 3, "in the middle of an epoch"


@pytest.mark.parametrize(
    ("space", "activation", "rms_prop", "normalized"),
    [
        ("discrete", "tanh", True, False),
        pytest.param("box", "elu", False, True, marks=pytest.mark.slow),
        ("multi", "silu", True, True),
    ],
)
def test_a2c_updates_as_sb3(space: str, activation: str, rms_prop: bool, normalized: bool) -> None:
    policy = {"net_arch": [16, 8], "activation_fn": ACTIVATIONS[activation]}
    model = built(
        A2C,
        space,
        policy,
        use_rms_prop=rms_prop,
        rms_prop_eps=NUMBERS["rms_prop_eps"],
        normalize_advantage=normalized,
    )
    shape = shaped(space, activation, [16, 8], rms_prop=rms_prop, normalize_advantage=normalized)
    compare(model, shape, numbers())


@pytest.mark.parametrize("ortho_init", [True, False])
def test_weights_begin_as_sb3s_do(ortho_init: bool) -> None:
    env = DummyVecEnv([lambda: Random(SPACES["box"][0])])
    policy = {"net_arch": [200, 100], "ortho_init": ortho_init, "log_std_init": NUMBERS["log_std_init"]}
    theirs = weights(PPO("MlpPolicy", env, policy_kwargs=policy, device="cpu", seed=0))
    ours = on_policy.begin(
        jax.random.key(0), shaped("box", "tanh", [200, 100], ortho_init=ortho_init), numbers()
    ).policy
    assert furthest(ours.log_std, theirs.log_std) < 1e-6
    for layer, their_layer in zip((*ours.pi, *ours.vf), (*theirs.pi, *theirs.vf), strict=True):
        for mine, their in zip(layer, their_layer, strict=True):
            assert mine.shape == their.shape
            if not ortho_init:
                bound = layer[0].shape[0] ** -0.5
                assert float(jnp.abs(mine).max()) <= bound
                assert mine.ndim == 1 or float(jnp.abs(mine).max()) > 0.9 * bound
            elif mine.ndim == 1:
                assert furthest(mine, their) == 0.0
            else:  # singular values are all the gain
                found, expected = (jnp.linalg.svd(m, compute_uv=False) for m in (mine, their))
                assert furthest(found, expected) < 1e-5


@pytest.mark.parametrize("space", SPACES)
def test_actions_are_sb3s(space: str) -> None:
    model = built(PPO, space, {"net_arch": [16]}, batch_size=16)
    shape, policy = shaped(space, "tanh", [16]), weights(model)
    seen = np.random.default_rng(0).uniform(-2.0, 2.0, (50, FEATURES)).astype(np.float32)
    with torch.no_grad():
        distribution = model.policy.get_distribution(torch.as_tensor(seen))
        mode, values = distribution.mode().numpy(), model.policy.predict_values(torch.as_tensor(seen)).numpy()
    ours = on_policy.act(policy, jnp.asarray(seen), shape, 0.0)
    assert np.allclose(ours, mode.reshape(ours.shape), atol=1e-5)
    assert np.allclose(on_policy.values(policy, jnp.asarray(seen), shape), values[:, 0], atol=1e-5)
    # Sampled actions have the probabilities, or the moments, that SB3 gives them.
    many = 20_000
    drawn = distributions.noise(jax.random.key(1), shape.space, (many, 1))
    sampled = np.asarray(on_policy.act(policy, jnp.asarray(seen[:1]), shape, drawn))[:, 0]
    with torch.no_grad():
        normal_or_parts = model.policy.get_distribution(torch.as_tensor(seen[:1])).distribution
    if space == "box":
        assert np.allclose(sampled.mean(axis=0), normal_or_parts.mean[0], atol=0.03)
        assert np.allclose(sampled.std(axis=0), normal_or_parts.stddev[0], atol=0.03)
    else:
        parts = normal_or_parts if isinstance(normal_or_parts, list) else [normal_or_parts]
        for index, part in enumerate(parts):
            frequencies = np.bincount(sampled[:, index], minlength=part.probs.shape[-1]) / many
            assert np.allclose(frequencies, part.probs[0], atol=0.02)


def test_runs_of_a_program_do_not_touch_each_other() -> None:
    shape = shaped("discrete", "tanh", [16], n_epochs=2, clip_values=True, stops_early=True)
    rng = np.random.default_rng(0)
    shapes = {"rewards": (), "observations": (FEATURES,), "finals": (FEATURES,)}
    parts = {name: jnp.asarray(rng.standard_normal((N_STEPS, N_ENVS, *rest))) for name, rest in shapes.items()}
    dones = jnp.asarray(rng.random((N_STEPS, N_ENVS)) < 0.2)
    actions, last = jnp.asarray(rng.integers(4, size=(N_STEPS, N_ENVS, 1))), jnp.ones((N_ENVS, FEATURES))
    rollout = on_policy.Rollout(actions=actions, dones=dones, truncated=dones, last=last, **parts)
    orders = jnp.asarray([rng.permutation(shape.steps) for _ in range(2)])

    def run(key: jax.Array, given: dict[str, jax.Array]) -> on_policy.Learner:
        learner = on_policy.begin(key, shape, given)
        return on_policy.update(learner, rollout, shape, given, jnp.asarray(0.5), orders)

    both, keys = {**NUMBERS, "target_kl": 1.0}, jax.random.split(jax.random.key(0), 2)
    other = {**both, "learning_rate": 0.05, "gamma": 0.5, "target_kl": 1e-3, "clip_range": 0.5}
    together = jax.jit(jax.vmap(run))
    one, two = (together(keys, {k: jnp.asarray([both[k], second[k]]) for k in both}) for second in (both, other))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.array_equal(a[0], b[0])), one, two)))
    assert not all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.array_equal(a[1], b[1])), one, two)))
