"""DQN, SAC and TD3 in JAX learn what Stable-Baselines3's learn: the same weights from the same batches and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from gymnasium import spaces
from quickly import some
from scipy import stats
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from autorl.training.jax import distributions, dqn, networks, off_policy, sac, td3
from autorl.training.jax.distributions import ActionSpace
from autorl.training.jax.schedules import scheduled

FEATURES, BATCH, PROGRESS, RATE = 3, 32, 0.75, 2e-3
LOW, HIGH = (-2.0, 0.5), (1.0, 4.0)
CHOICES, BOX = ActionSpace(choices=(4,)), ActionSpace(low=LOW, high=HIGH)
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
    "gamma": 0.97,
    "tau": 0.1,
}
Tree = Any


class Spaces(gym.Env[np.ndarray, Any]):
    """Nothing but spaces."""

    observation_space = spaces.Box(-2.0, 2.0, (FEATURES,), np.float32)

    def __init__(self, *, discrete: bool) -> None:
        box = spaces.Box(np.array(LOW, np.float32), np.array(HIGH, np.float32))
        self.action_space = spaces.Discrete(4) if discrete else box


def numbers(**more: float) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in {**NUMBERS, **more}.items()}


def built(algorithm: type[OffPolicyAlgorithm], policy: dict[str, Any], **settings: Any) -> OffPolicyAlgorithm:
    """Return a model of SB3 whose replay memory is full of transitions, with terminal states and timeouts."""
    model: Any = algorithm(
        "MlpPolicy",
        Spaces(discrete=algorithm is DQN),  # type: ignore[arg-type]
        learning_rate=lambda progress: RATE * progress,
        buffer_size=200,
        batch_size=BATCH,
        gamma=NUMBERS["gamma"],
        tau=NUMBERS["tau"],
        policy_kwargs=policy,
        seed=3,
        device="cpu",
        **settings,
    )
    model.set_logger(Logger(None, []))
    model._current_progress_remaining = PROGRESS
    rng, space = np.random.default_rng(5), model.observation_space
    space.seed(7)
    for _ in range(model.replay_buffer.buffer_size):
        action = rng.integers(4, size=1) if algorithm is DQN else rng.uniform(-1.0, 1.0, (1, 2))
        ended = rng.random(1) < 0.3
        infos = [{"TimeLimit.truncated": bool(ended[0] and rng.random() < 0.5)}]
        seen, following = space.sample(), space.sample()
        model.replay_buffer.add(seen, following, action, 3.0 * rng.standard_normal(1), ended, infos)
    return model


def trained(model: Any, steps: int) -> list[off_policy.Batch]:
    """Let SB3 take gradient steps and return the batches that they were of."""
    batches: list[off_policy.Batch] = []
    real = model.replay_buffer.sample

    def sample(*args: Any, **kwargs: Any) -> ReplayBufferSamples:
        found = real(*args, **kwargs)
        flat = [found.observations, found.actions, found.rewards[:, 0], found.dones[:, 0], found.next_observations]
        batches.append(off_policy.Batch(*(jnp.asarray(part.numpy()) for part in flat)))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.replay_buffer, "sample", sample)
        model.train(gradient_steps=steps, batch_size=BATCH)
    dones = np.concatenate([batch.dones for batch in batches])
    assert 0.05 < dones.mean() < 0.25, "terminal states are batched, and timeouts are not taken for them"
    return batches


@contextmanager
def recorded_normals(drawn: list[jax.Array], scale: float = 1.0) -> Iterator[None]:
    """Record the noise that torch's normal distribution draws."""
    real = torch.distributions.normal._standard_normal

    def draw(*args: Any, **kwargs: Any) -> torch.Tensor:
        noise = scale * real(*args, **kwargs)
        drawn.append(jnp.array(noise.numpy()))
        return noise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributions.normal, "_standard_normal", draw)
        yield


@contextmanager
def recorded_smoothing(drawn: list[jax.Array]) -> Iterator[None]:
    """Record the noise that TD3 smooths its targets with, before it is scaled."""
    real = torch.Tensor.normal_

    def draw(tensor: torch.Tensor, mean: float, std: float) -> torch.Tensor:
        noise = real(tensor)
        drawn.append(jnp.array(noise.numpy()))
        return noise.mul_(std).add_(mean)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "normal_", draw)
        yield


def layers(module: nn.Module) -> networks.Network:
    """Return the weights of a torch network."""
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    # Copies, as torch changes its own in place.
    return tuple((jnp.array(p.weight.detach().numpy().T), jnp.array(p.bias.detach().numpy())) for p in linear)


def stacked(critic: Any) -> networks.Network:
    return jax.tree.map(lambda *parts: jnp.stack(parts), *(layers(q) for q in critic.q_networks))


def sac_actor(actor: Any) -> networks.Network:
    (mean, mean_bias), (log_std, log_std_bias) = layers(actor.mu)[0], layers(actor.log_std)[0]
    last = jnp.concatenate([mean, log_std], axis=1), jnp.concatenate([mean_bias, log_std_bias])
    return (*layers(actor.latent_pi), last)


def dqn_weights(model: Any) -> dict[str, Tree]:
    return {"q": layers(model.q_net), "target": layers(model.q_net_target)}


def sac_weights(model: Any) -> dict[str, Tree]:
    weights = {
        "actor": sac_actor(model.actor),
        "critics": stacked(model.critic),
        "target": stacked(model.critic_target),
    }
    if model.ent_coef_optimizer is not None:
        weights["log_ent_coef"] = jnp.array(model.log_ent_coef.detach().numpy())
    return weights


def td3_weights(model: Any) -> dict[str, Tree]:
    return {
        "actor": layers(model.actor),
        "critics": stacked(model.critic),
        "actor_target": layers(model.actor_target),
        "critics_target": stacked(model.critic_target),
    }


def begun(module: ModuleType, shape: Any, given: dict[str, jax.Array], weights: dict[str, Tree]) -> Any:
    """Return a learner that begins with SB3's weights, which are of the shapes of its own."""
    learner = module.begin(jax.random.key(0), shape, given)
    for name, weight in weights.items():
        assert jax.tree.map(jnp.shape, getattr(learner, name)) == jax.tree.map(jnp.shape, weight)
    return learner._replace(**weights)


def furthest(a: Tree, b: Tree) -> float:
    apart = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max(initial=0.0)), a, b)
    return max(jax.tree.leaves(apart))


def assert_learned(learner: Any, before: dict[str, Tree], after: dict[str, Tree], still: tuple[str, ...] = ()) -> None:
    for name, weight in after.items():
        assert furthest(getattr(learner, name), weight) < 1e-5, name
        if name in still:
            assert furthest(before[name], weight) == 0.0, name
        elif jax.tree.leaves(weight)[0].size:
            assert furthest(before[name], weight) > 1e-4, f"{name} changed, or the test shows nothing"


def updated(
    module: ModuleType,
    learner: Any,
    shape: Any,
    given: dict[str, jax.Array],
    batches: list[off_policy.Batch],
    noise: list[Any],
) -> Any:
    step = jax.jit(module.update, static_argnums=2)
    for index, (batch, drawn) in enumerate(zip(batches, noise, strict=True)):
        learner = step(learner, batch, shape, given, jnp.asarray(PROGRESS), jnp.asarray(index), drawn)
    return learner


@pytest.mark.parametrize(
    ("activation", "hidden", "max_grad_norm"),
    [("relu", (16, 8), 10.0), ("tanh", (16,), 0.05), ("gelu", (), 10.0), ("leaky_relu", (8, 8, 8), 0.5)],
)
def test_dqn_updates_as_sb3(activation: str, hidden: tuple[int, ...], max_grad_norm: float) -> None:
    policy = {"net_arch": list(hidden), "activation_fn": ACTIVATIONS[activation]}
    model: Any = built(DQN, policy, max_grad_norm=max_grad_norm, target_update_interval=1)
    shape = dqn.Dqn(FEATURES, CHOICES, activation, 1, BATCH, hidden)
    given, before = numbers(max_grad_norm=max_grad_norm), dqn_weights(model)
    learner = begun(dqn, shape, given, before)
    # Targets are moved between two calls of `train`, as they are between environment steps.
    learner = updated(dqn, learner, shape, given, trained(model, 2), [()] * 2)
    assert_learned(learner, before, dqn_weights(model), still=("target",))
    model._on_step()
    learner = dqn.sync(learner, given)
    learner = updated(dqn, learner, shape, given, trained(model, 2), [()] * 2)
    model._on_step()
    assert_learned(dqn.sync(learner, given), before, dqn_weights(model))


@pytest.mark.parametrize(
    ("ent_coef", "target_entropy", "interval", "activation", "net_arch", "n_critics", "extreme"),
    [
        pytest.param("auto", "auto", 1, "relu", [16, 16], 2, False, marks=pytest.mark.slow),
        pytest.param("auto_0.1", -1.5, 2, "elu", {"pi": [8], "qf": [16, 8]}, 3, True, marks=pytest.mark.slow),
        (0.2, "auto", 1, "tanh", {"pi": [16, 8], "qf": [12]}, 2, True),
        pytest.param(0.0, "auto", 3, "silu", [8], 1, False, marks=pytest.mark.slow),
    ],
)
def test_sac_updates_as_sb3(
    ent_coef: str | float,
    target_entropy: str | float,
    interval: int,
    activation: str,
    net_arch: Any,
    n_critics: int,
    extreme: bool,
) -> None:
    policy = {"net_arch": net_arch, "activation_fn": ACTIVATIONS[activation], "n_critics": n_critics}
    model: Any = built(SAC, policy, ent_coef=ent_coef, target_entropy=target_entropy, target_update_interval=interval)
    if extreme:
        with torch.no_grad():  # beyond the greatest logarithm of the standard deviation, for some observations
            model.actor.log_std.bias += torch.tensor([1.9, -1.0])
            model.actor.log_std.weight *= 4.0
    pi, qf = (net_arch["pi"], net_arch["qf"]) if isinstance(net_arch, dict) else (net_arch, net_arch)
    auto, entropy = sac.entropy_settings(ent_coef, target_entropy, BOX)
    shape = sac.Sac(FEATURES, BOX, activation, 1, BATCH, tuple(pi), tuple(qf), n_critics, auto)
    given, before = numbers(target_update_interval=interval, **entropy), sac_weights(model)
    learner = begun(sac, shape, given, before)
    if auto:
        assert furthest(sac.begin(jax.random.key(1), shape, given).log_ent_coef, before["log_ent_coef"]) < 1e-6
    for _ in range(2):  # calls of `train`; steps are numbered anew in each
        drawn: list[jax.Array] = []
        # Where actions come within 1e-6 of 1, float32 leaves neither side right.
        with recorded_normals(drawn, scale=0.1 if extreme else 1.0):
            batches = trained(model, 3)
        noise = [sac.Noise(*pair) for pair in zip(drawn[::2], drawn[1::2], strict=True)]
        learner = updated(sac, learner, shape, given, batches, noise)
        assert_learned(learner, before, sac_weights(model))


@pytest.mark.parametrize(
    ("algorithm", "delay", "activation", "net_arch", "n_critics"),
    [
        (TD3, 2, "relu", [16, 16], 2),
        pytest.param(TD3, 3, "tanh", {"pi": [8], "qf": [16, 8]}, 3, marks=pytest.mark.slow),
        pytest.param(TD3, 1, "leaky_relu", [8], 2, marks=pytest.mark.slow),
        (DDPG, 1, "gelu", [8, 8], 1),
    ],
)
def test_td3_updates_as_sb3(
    algorithm: type[TD3],
    delay: int,
    activation: str,
    net_arch: Any,
    n_critics: int,
) -> None:
    policy = {"net_arch": net_arch, "activation_fn": ACTIVATIONS[activation], "n_critics": n_critics}
    # Noise that is clipped, and actions that are.
    smoothing = {"policy_delay": delay, "target_policy_noise": 0.6, "target_noise_clip": 0.9}
    model: Any = built(algorithm, policy, **smoothing if algorithm is TD3 else {})
    smoothing = {name: getattr(model, name) for name in smoothing}
    pi, qf = (net_arch["pi"], net_arch["qf"]) if isinstance(net_arch, dict) else (net_arch, net_arch)
    shape = td3.Td3(FEATURES, BOX, activation, 1, BATCH, tuple(pi), tuple(qf), n_critics)
    given, before = numbers(**smoothing), td3_weights(model)
    learner = begun(td3, shape, given, before)
    for steps in (1, 4):  # the delay goes on from one call of `train` to the next
        drawn: list[jax.Array] = []
        with recorded_smoothing(drawn):
            batches = trained(model, steps)
        learner = updated(td3, learner, shape, given, batches, drawn)
        still = ("actor", "actor_target", "critics_target") if delay > steps else ()
        assert_learned(learner, before, td3_weights(model), still=still)
    assert learner.n_updates == model._n_updates


@pytest.mark.parametrize("algorithm", [DQN, SAC, TD3])
def test_actions_are_sb3s(algorithm: type[OffPolicyAlgorithm]) -> None:
    model: Any = built(algorithm, {"net_arch": [16]})
    modules: dict[Any, tuple[ModuleType, Any, Callable[[Any], dict[str, Tree]]]] = {
        DQN: (dqn, dqn.Dqn(FEATURES, CHOICES, "relu", 5, BATCH, (16,)), dqn_weights),
        SAC: (sac, sac.Sac(FEATURES, BOX, "relu", 5, BATCH, (16,), (16,), 2, True), sac_weights),
        TD3: (td3, td3.Td3(FEATURES, BOX, "relu", 5, BATCH, (16,), (16,), 2), td3_weights),
    }
    module, shape, weights = modules[algorithm]
    given = numbers(ent_coef=1.0)
    learner = begun(module, shape, given, weights(model))
    seen = np.stack([model.observation_space.sample() for _ in range(shape.n_envs)])
    normals: list[jax.Array] = []
    with recorded_normals(normals):
        acted = model.policy.predict(seen, deterministic=False)[0]
    drawn = normals[0] if normals else distributions.noise(jax.random.key(0), shape.space, (shape.n_envs,))
    deterministic = model.policy.predict(seen, deterministic=True)[0]
    for ours, theirs in (
        (module.act(learner, seen, shape, given, drawn), acted),
        (module.mode(learner, seen, shape), deterministic),
    ):
        assert ours.shape == (shape.n_envs, shape.space.actions)
        if shape.space.discrete:
            assert np.array_equal(ours[:, 0], theirs)
        else:
            assert np.allclose(off_policy.unscale(ours, shape.space), theirs, atol=1e-5)
    assert (algorithm is SAC) == (np.abs(acted - deterministic).max() > 0.1)


SHAPES: dict[str, tuple[ModuleType, Any]] = {
    "dqn": (dqn, dqn.Dqn(FEATURES, CHOICES, "relu", 1, 8, (400, 300))),
    "sac": (sac, sac.Sac(FEATURES, BOX, "relu", 1, 8, (400, 300), (400, 300), 2, True)),
    "td3": (td3, td3.Td3(FEATURES, BOX, "relu", 1, 8, (400, 300), (400, 300), 2)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_weights_begin_as_sb3s_do(name: str) -> None:
    module, shape = SHAPES[name]
    learner = module.begin(jax.random.key(2), shape, numbers(ent_coef=1.0))
    model = built({"dqn": DQN, "sac": SAC, "td3": TD3}[name], {"net_arch": [400, 300]})
    weights = {"dqn": dqn_weights, "sac": sac_weights, "td3": td3_weights}[name](model)
    for part in ("q", "actor", "critics"):
        if part not in weights:
            continue
        for (kernel, bias), (torch_kernel, torch_bias) in zip(getattr(learner, part), weights[part], strict=True):
            bound = kernel.shape[-2] ** -0.5
            for ours, theirs in ((kernel, torch_kernel), (bias, torch_bias)):
                assert float(jnp.abs(ours).max()) <= bound
                assert stats.ks_2samp(np.ravel(ours), np.ravel(theirs)).pvalue > 1e-3
            assert float(jnp.abs(kernel).max()) > 0.95 * bound
    for target, source in (("target", "q"), ("target", "critics"), ("actor_target", "actor")):
        if hasattr(learner, target) and hasattr(learner, source):
            assert furthest(getattr(learner, target), getattr(learner, source)) == 0.0
    if name != "dqn":
        kernel = learner.critics[0][0]
        assert float(jnp.abs(kernel[0] - kernel[1]).max()) > 0.1, "critics are of their own"


def test_exploration_is_scheduled_as_sb3s() -> None:
    settings = {"exploration_initial_eps": 0.9, "exploration_final_eps": 0.07, "exploration_fraction": 0.3}
    schedule = LinearSchedule(*settings.values())
    rates = []
    for progress in np.linspace(1.0, 0.0, 101):
        rates.append(float(off_policy.exploration_rate(numbers(**settings), jnp.asarray(progress))))
        assert rates[-1] == pytest.approx(schedule(float(progress)), abs=1e-6)
    assert rates[0] == pytest.approx(0.9)
    assert rates[-1] == pytest.approx(0.07)


def test_a_linear_schedule_is_sb3s_also_beyond_the_end_of_training() -> None:
    own = numbers(learning_rate=3e-4, learning_rate_linear=1.0)
    for progress in (1.0, 0.4, 0.0, -0.15):
        rate = float(scheduled("learning_rate", own, jnp.asarray(progress)))
        assert rate == pytest.approx(LinearSchedule(3e-4, 0.0, 1.0)(progress), abs=1e-9)


def test_actions_are_unscaled_as_sb3s() -> None:
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 2)).astype(np.float32)
    model: Any = built(TD3, {"net_arch": [4]})
    assert np.allclose(off_policy.unscale(actions, BOX), model.policy.unscale_action(actions), atol=1e-6)


def test_entropy_settings_are_read_as_sb3_reads_them() -> None:
    assert sac.entropy_settings("auto", "auto", BOX) == (True, {"ent_coef": 1.0, "target_entropy": -2.0})
    assert sac.entropy_settings("auto_0.5", -3, BOX) == (True, {"ent_coef": 0.5, "target_entropy": -3.0})
    assert sac.entropy_settings(0.25, "-1.5", BOX) == (False, {"ent_coef": 0.25, "target_entropy": -1.5})
    for wrong in (("auto_0.0", "auto"), ("much", "auto"), ("auto", "much")):
        with pytest.raises(ValueError):
            sac.entropy_settings(*wrong, BOX)


@pytest.mark.parametrize("name", some(SHAPES, "sac"))
def test_runs_of_a_program_do_not_touch_each_other(name: str) -> None:
    module, _ = SHAPES[name]
    shape: Any = {
        "dqn": dqn.Dqn(FEATURES, CHOICES, "tanh", 1, BATCH, (16,)),
        "sac": sac.Sac(FEATURES, BOX, "tanh", 1, BATCH, (16,), (16,), 2, True),
        "td3": td3.Td3(FEATURES, BOX, "tanh", 1, BATCH, (16,), (16,), 2),
    }[name]
    both = {
        **NUMBERS,
        "max_grad_norm": 0.5,
        "ent_coef": 0.3,
        "target_entropy": -2.0,
        "target_update_interval": 1.0,
        "policy_delay": 2.0,
        "target_policy_noise": 0.2,
        "target_noise_clip": 0.5,
    }
    other = {**both, "learning_rate": 0.1, "gamma": 0.5, "tau": 0.9, "target_update_interval": 3.0, "policy_delay": 1.0}

    rng, steps = np.random.default_rng(1), 3
    actions = rng.integers(4, size=(steps, BATCH, 1)) if shape.space.discrete else rng.uniform(-1, 1, (steps, BATCH, 2))
    seen, following = rng.standard_normal((2, steps, BATCH, FEATURES))
    batches = off_policy.Batch(*map(jnp.asarray, (seen, actions, seen[..., 0], seen[..., 1] > 1.0, following)))

    def run(key: jax.Array, given: dict[str, jax.Array]) -> Any:
        def step(learner: Any, turn: Any) -> tuple[Any, None]:
            batch, index, k = turn
            drawn = module.noise(k, shape)
            return module.update(learner, batch, shape, given, jnp.asarray(PROGRESS), index, drawn), None

        turns = (batches, jnp.arange(steps), jax.random.split(key, steps))
        return jax.lax.scan(step, module.begin(key, shape, given), turns)[0]

    together = jax.jit(jax.vmap(run))
    keys = jax.random.split(jax.random.key(4), 2)
    one, two = (together(keys, {k: jnp.asarray([both[k], second[k]]) for k in both}) for second in (both, other))
    same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a[0], b[0])), one, two)
    assert all(jax.tree.leaves(same))
    assert not all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.array_equal(a[1], b[1])), one, two)))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(two))
