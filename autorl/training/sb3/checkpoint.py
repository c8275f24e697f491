"""Stop an SB3 run between two rollouts and go on later as if it had never stopped.

A checkpoint holds the networks, optimizers, replay buffer, normalization, counters, every random generator, and the
episode that each environment is in the middle of, which is replayed (`training/replay.py`). Where that leads elsewhere,
the run goes on from a fresh episode and says so.

Checkpoints hold tensors and plain data only, so loading one executes nothing.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from autorl.errors import CheckpointError
from autorl.training.curriculum.lessons import Lessons, Taught
from autorl.training.replay import FRESH, ReplayableEnv

FORMAT = 1
_COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
)


def pack(content: dict[str, Any]) -> memoryview:
    """Return the bytes of a checkpoint file."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    return buffer.getbuffer()


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can execute.

    Raises:
        CheckpointError: the file is damaged, or of another version.
    """
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({type(error).__name__})") from error
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {content.get('format')}, expected {FORMAT}")
    return content


def random_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the state of every generator that training draws from."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "numpy": json.dumps([str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)]),
        "python": json.dumps(random.getstate()),
        "actions": json.dumps(model.action_space.np_random.bit_generator.state),
    }


def restore_random_state(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Set every generator to a state that `random_state` returned."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, cached = json.loads(state["numpy"])
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = json.loads(state["python"])
    random.setstate((version, tuple(internal), gauss))
    model.action_space.np_random.bit_generator.state = json.loads(state["actions"])


def capture(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the state of a model between two rollouts, but for the random generators."""
    env = model.get_env()
    assert env is not None
    _, variables = model._get_torch_save_params()
    state: dict[str, Any] = {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name).detach().clone() for name in variables},
        "counters": {name: getattr(model, name) for name in _COUNTERS if hasattr(model, name)},
        "observations": {
            name: _pack(getattr(model, name))
            for name in ("_last_obs", "_last_original_obs", "_last_episode_starts", "_episode_costs")
            if getattr(model, name, None) is not None
        },
        "environments": [_pack_episode(wrapper.episode()) for wrapper in _replayable(env)],
        "wrappers": [_wrapper_state(wrapper) for wrapper in _wrappers(env)],
    }
    lessons = lessons_of(model)
    if lessons is not None:
        state["lessons"] = json.dumps(lessons.state())
    if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
        state["buffer"] = _buffer_state(model.replay_buffer)
    lstm = getattr(model, "_last_lstm_states", None)
    if lstm is not None:
        state["lstm"] = [[tensor.clone() for tensor in pair] for pair in lstm]
    if model.use_sde:
        state["exploration"] = [distribution_state(d) for d in _sde_distributions(model)]
    noise = getattr(model, "action_noise", None)
    if noise is not None:
        state["noise"] = [_pack(n.noise_prev) for n in _walking_noises(noise)]
    return state


def restore(model: BaseAlgorithm, state: Mapping[str, Any]) -> tuple[str, ...]:
    """Set a freshly made model to a captured state, before `learn`.

    Returns:
        What could not be restored exactly, in sentences; empty if everything was.
    """
    load(model, state["parameters"], state["variables"], state["counters"])
    if "buffer" in state:
        assert isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None
        restore_buffer(model.replay_buffer, state["buffer"])
    return restore_episodes(model, state)


def load(
    model: BaseAlgorithm, parameters: Mapping[str, Any], variables: Mapping[str, Any], counters: Mapping[str, Any]
) -> None:
    """Set what a model has learned, and how far it has got."""
    model.set_parameters(dict(parameters), exact_match=True)
    for name, tensor in variables.items():
        getattr(model, name).data.copy_(tensor)
    for name, value in counters.items():
        setattr(model, name, value)
    if hasattr(model, "weights"):  # ARS keeps its parameters a second time, as one vector
        model.weights = torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach()


def restore_episodes(model: BaseAlgorithm, state: Mapping[str, Any]) -> tuple[str, ...]:
    """Put a model into the episodes that were under way.

    Returns:
        What could not be restored exactly, in sentences; empty if everything was.
    """
    env = model.get_env()
    assert env is not None
    for name, packed in state["observations"].items():
        setattr(model, name, unpack(packed))
    if "lstm" in state:
        recurrent: Any = model
        recurrent._last_lstm_states = type(recurrent._last_lstm_states)(*(tuple(pair) for pair in state["lstm"]))
    for wrapper, saved in zip(_wrappers(env), state["wrappers"], strict=True):
        _restore_wrapper(wrapper, saved)
    lessons = lessons_of(model)
    if lessons is not None:
        lessons.restore(json.loads(state["lessons"]))
    # `replay` has reset the environments already; the seeds waiting for their first reset are spent.
    env.unwrapped._reset_seeds()
    exact = [w.replay(_unpack_episode(e)) for w, e in zip(_replayable(env), state["environments"], strict=True)]
    if all(exact):
        return ()
    model._last_obs = None  # `learn` starts fresh episodes
    return (FRESH,)


def within_rollout(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a captured state that `restore_within_rollout` needs."""
    return {key: state[key] for key in ("exploration", "noise") if key in state}


def restore_within_rollout(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Restore what `learn` draws anew before it first asks its callbacks: exploration matrices and action noise."""
    if "exploration" in state:
        for distribution, saved in zip(_sde_distributions(model), state["exploration"], strict=True):
            distribution.exploration_mat, distribution.exploration_matrices = saved
    if "noise" in state:
        for noise, saved in zip(_walking_noises(model.action_noise), state["noise"], strict=True):
            noise.noise_prev = unpack(saved)


def distribution_state(distribution: Any) -> list[torch.Tensor]:
    """Return the exploration matrices of a state-dependent noise distribution."""
    return [distribution.exploration_mat.detach().clone(), distribution.exploration_matrices.detach().clone()]


def _sde_distributions(model: Any) -> list[Any]:
    holder = getattr(model, "actor", None) or model.policy
    return [holder.action_dist]


def _walking_noises(noise: Any) -> list[Any]:
    """Return the noises that remember their last value; normal noise has no state but the generator's."""
    noises = noise.noises if isinstance(noise, VectorizedActionNoise) else [noise]
    return [n for n in noises if isinstance(n, OrnsteinUhlenbeckActionNoise)]


def _wrappers(env: VecEnv) -> list[VecEnvWrapper]:
    found = []
    while isinstance(env, VecEnvWrapper):
        found.append(env)
        env = env.venv
    return found


def _replayable(env: VecEnv) -> list[ReplayableEnv]:
    base = env.unwrapped
    assert isinstance(base, DummyVecEnv)
    inner = [wrapper.env if isinstance(wrapper, Taught) else wrapper for wrapper in base.envs]
    return [wrapper for wrapper in inner if isinstance(wrapper, ReplayableEnv)]


def lessons_of(model: BaseAlgorithm) -> Lessons | None:
    """Return the lessons of a model's training environments, or None if their task does not vary."""
    env = model.get_env()
    assert env is not None and isinstance(env.unwrapped, DummyVecEnv)
    first = env.unwrapped.envs[0]
    return first.lessons if isinstance(first, Taught) else None


def _wrapper_state(wrapper: VecEnvWrapper) -> dict[str, Any]:
    if isinstance(wrapper, VecNormalize):
        return {
            "moments": {
                k: [_pack(np.asarray(m.mean)), _pack(np.asarray(m.var)), float(m.count)]
                for k, m in _moments(wrapper).items()
            },
            "discounted": _pack(wrapper.returns),
            "old": [_pack(wrapper.old_obs), _pack(wrapper.old_reward)],
        }
    if isinstance(wrapper, VecFrameStack):
        return {"stack": _pack(_stacks(wrapper))}
    return {}


def _restore_wrapper(wrapper: VecEnvWrapper, state: Mapping[str, Any]) -> None:
    if isinstance(wrapper, VecNormalize):
        restore_moments(wrapper, state["moments"])
        wrapper.returns = unpack(state["discounted"])
        wrapper.old_obs, wrapper.old_reward = (unpack(packed) for packed in state["old"])
    elif isinstance(wrapper, VecFrameStack):
        _set_stacks(wrapper, unpack(state["stack"]))


def restore_moments(wrapper: VecNormalize, moments: Mapping[str, Any]) -> None:
    """Set the means and variances of a normalization, as far as it has those that were stored."""
    own = _moments(wrapper)
    for key in own.keys() & moments.keys():
        mean, variance, count = moments[key]
        own[key].mean, own[key].var, own[key].count = unpack(mean), unpack(variance), count


def _moments(wrapper: VecNormalize) -> dict[str, RunningMeanStd]:
    found = {"returns": wrapper.ret_rms}
    if wrapper.norm_obs:
        found |= wrapper.obs_rms if isinstance(wrapper.obs_rms, dict) else {"observations": wrapper.obs_rms}
    return found


def _stacks(wrapper: VecFrameStack) -> Any:
    stacked: Any = wrapper.stacked_obs
    parts = getattr(stacked, "sub_stacked_observations", None)
    return {key: part.stacked_obs for key, part in parts.items()} if parts is not None else stacked.stacked_obs


def _set_stacks(wrapper: VecFrameStack, content: Any) -> None:
    stacked: Any = wrapper.stacked_obs
    if isinstance(content, dict):
        for key, array in content.items():
            stacked.sub_stacked_observations[key].stacked_obs = array
    else:
        stacked.stacked_obs = content


def _buffer_state(buffer: Any) -> dict[str, Any]:
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {
        key: _pack(_head(value, filled))
        for key, value in vars(buffer).items()
        if _is_storage(value, buffer.buffer_size)
    }
    return {"position": buffer.pos, "full": buffer.full, "arrays": arrays}


def _is_storage(value: Any, size: int) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_is_storage(part, size) for part in value.values())
    return isinstance(value, np.ndarray) and value.ndim > 1 and len(value) == size


def _head(value: Any, filled: int) -> Any:
    return {key: part[:filled] for key, part in value.items()} if isinstance(value, dict) else value[:filled]


def restore_buffer(buffer: Any, state: Mapping[str, Any]) -> None:
    """Fill a replay buffer as it was."""
    buffer.pos, buffer.full = state["position"], state["full"]
    for key, packed in state["arrays"].items():
        target, saved = getattr(buffer, key), unpack(packed)
        for part, array in ((target[k], saved[k]) for k in saved) if isinstance(saved, dict) else ((target, saved),):
            part[: len(array)] = array


def _pack_episode(episode: Mapping[str, Any]) -> dict[str, Any]:
    return {"reset": episode["reset"], **{key: _pack(episode[key]) for key in ("actions", "observation")}}


def _unpack_episode(packed: Mapping[str, Any]) -> dict[str, Any]:
    return {"reset": packed["reset"], **{key: unpack(packed[key]) for key in ("actions", "observation")}}


def _pack(value: Any) -> Any:
    """Turn arrays into tensors, which load without unpickling anything else."""
    if isinstance(value, dict):
        return {key: _pack(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_pack(part) for part in value]
    return torch.from_numpy(np.array(value, copy=True))


def unpack(value: Any) -> Any:
    """Turn tensors back into the arrays that they were."""
    if isinstance(value, dict):
        return {key: unpack(part) for key, part in value.items()}
    return value.numpy()
