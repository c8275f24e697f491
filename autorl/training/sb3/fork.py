"""Go on under another recipe: what a forked run takes over from the run that it starts from.

Networks, optimizers, replay buffer, normalization, counters and the episodes under way are taken over as far as the new
recipe has a place for them; all else, such as schedules, entropy coefficients and the size of rollouts, follows the new
recipe. Where the policy differs, its networks are not taken over but distilled (Wan et al. 2022, arXiv 2207.09405,
section 3.3): the new networks, the student, learn to act and to estimate as the old ones, the teacher, do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.td3.policies import TD3Policy
from torch.distributions import Distribution, Normal, kl_divergence

from autorl.training.sb3 import checkpoint
from autorl.training.sb3.algorithms import own_defaults
from autorl.training.sb3.model import build
from autorl.trial import Recipe

OBSERVATIONS: Final = 4096
UPDATES: Final = 1000
BATCH: Final = 128
LEARNING_RATE: Final = 3e-3
"""At the first update; it falls linearly to zero."""
_NOT_DISTILLED: Final = ("ars", "recurrent_ppo", "ppo_lagrangian")
_FIXED: Final = ("algorithm.name", "frame_stack", "policy.n_critics", "policy.n_quantiles")


def take_over(
    model: BaseAlgorithm, recipe: Recipe, state: Mapping[str, Any], seed: int, alive: Callable[[], None]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Set a freshly made model of a recipe to what the recipe that it starts from has trained, before `learn`.

    Args:
        model: the model.
        recipe: its recipe, which has a start.
        state: what `checkpoint.capture` returned of a model of that start.
        seed: the run's seed.
        alive: is called now and then.

    Returns:
        What of the state is to be restored within the first rollout, and what the user should know, in sentences.

    Raises:
        ValueError: a run cannot go on under this recipe.
    """
    assert recipe.start is not None
    donor = recipe.start.recipe
    for_student, for_episodes = _seeds(seed, state["counters"]["num_timesteps"])
    same_lessons = (donor.task_space, donor.curriculum) == (recipe.task_space, recipe.curriculum)
    same_envs = _same(donor, recipe, "n_envs", "normalize") and same_lessons
    same_envs = same_envs and (donor.env_kwargs, donor.wrappers) == (recipe.env_kwargs, recipe.wrappers)
    same_policy = _same(donor, recipe, "use_sde") and donor.policy == recipe.policy and _same_inputs(donor, recipe)
    _refuse(donor, recipe, same_policy)

    checkpoint.load(model, *_learned(model, state, with_policy=same_policy), state["counters"])
    if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
        same_buffer = _same(donor, recipe, "buffer_size", "n_envs")
        (checkpoint.restore_buffer if same_buffer else refill)(model.replay_buffer, state["buffer"])
    if same_envs:
        notes = checkpoint.restore_episodes(model, state)
    else:
        notes = _begin_episodes(model, state, for_episodes)
        lessons = checkpoint.lessons_of(model)
        if lessons is not None:
            lessons.go_on(json.loads(state["lessons"]), same_lessons)
    if not same_policy:
        notes += _distil(model, donor, state, seed, for_student, alive)
    kept = checkpoint.within_rollout(state) if same_envs else {}
    if not same_policy:
        kept.pop("exploration", None)
    if not _same(donor, recipe, "noise_type"):
        kept.pop("noise", None)
    return kept, notes


def fixed_for_life(algorithm: str, key: str) -> bool:
    """Say whether no run of an algorithm can go on with another value of a key."""
    of_policy = key.startswith("policy.") or key in ("use_sde", "normalize")
    return key in _FIXED or (of_policy and algorithm in _NOT_DISTILLED)


def _refuse(donor: Recipe, recipe: Recipe, same_policy: bool) -> None:
    if donor.algorithm != recipe.algorithm:
        raise ValueError(f"a run of {donor.algorithm} cannot go on as one of {recipe.algorithm}")
    if not _same(donor, recipe, "frame_stack"):
        raise ValueError("a run cannot go on with another frame_stack: its networks have not seen such observations")
    n_step = "train_freq" in own_defaults(recipe.algorithm) and recipe.hyperparameters.get("n_steps", 1) > 1
    if n_step and not _same(donor, recipe, "n_envs"):
        # The rows of a replay buffer for n-step returns are what one environment did.
        raise ValueError("a run with n-step returns cannot go on with another n_envs")
    if not same_policy and recipe.algorithm in _NOT_DISTILLED:
        raise ValueError(f"a run of {recipe.algorithm} cannot go on with another policy: it has no distillation")


def _same(donor: Recipe, recipe: Recipe, *names: str) -> bool:
    own = own_defaults(recipe.algorithm)
    theirs, ours = ({**own, **asked.hyperparameters} for asked in (donor, recipe))
    return all(theirs.get(name) == ours.get(name) for name in names)


def _seeds(seed: int, env_steps: int) -> tuple[int, int]:
    """Return the seed of distillation and that of fresh episodes, which no evaluation shares."""
    first, second = np.random.SeedSequence([seed, env_steps]).generate_state(2)
    return int(first) % (2**30 - 2**16), int(second) % (2**30 - 2**16)


def _learned(
    model: BaseAlgorithm, state: Mapping[str, Any], with_policy: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters and the variables that a model takes over, completed with its own."""
    own = model.get_parameters()
    for name, saved in state["parameters"].items():
        if name not in own or not (with_policy or name == "ent_coef_optimizer"):
            continue
        if "param_groups" not in saved:
            own[name] = saved
        # Another class of optimizer has other settings, and cannot use the moments of this one.
        elif own[name]["param_groups"][0].keys() == saved["param_groups"][0].keys():
            own[name] = {"state": saved["state"], "param_groups": own[name]["param_groups"]}
    _, variables = model._get_torch_save_params()
    # A constant entropy coefficient is none that was learned.
    return own, {k: v for k, v in state["variables"].items() if k in variables and k != "ent_coef_tensor"}


def refill(buffer: Any, state: Mapping[str, Any]) -> None:
    """Fill a replay buffer of another size or number of environments with the newest transitions of a stored one."""

    def fill(target: Any, packed: Any) -> int:
        if isinstance(packed, dict):
            return max(fill(target[key], part) for key, part in packed.items())
        rows = np.roll(packed, -state["position"], axis=0) if state["full"] else packed
        rows = rows.reshape(-1, *rows.shape[2:])
        count: int = min(len(rows) // buffer.n_envs, buffer.buffer_size)
        target[:count] = rows[len(rows) - count * buffer.n_envs :].reshape(count, buffer.n_envs, *rows.shape[1:])
        return count

    count = max(fill(getattr(buffer, key), checkpoint.unpack(packed)) for key, packed in state["arrays"].items())
    buffer.pos, buffer.full = count % buffer.buffer_size, count == buffer.buffer_size


def _begin_episodes(model: BaseAlgorithm, state: Mapping[str, Any], seed: int) -> tuple[str, ...]:
    """Take over the normalization only, and have `learn` start fresh episodes."""
    normalization, env = model.get_vec_normalize_env(), model.get_env()
    assert env is not None
    moments = [wrapper["moments"] for wrapper in state["wrappers"] if "moments" in wrapper]
    if normalization is not None and moments:
        checkpoint.restore_moments(normalization, moments[0])
    env.seed(seed)
    return ()


# Distillation


def _distil(
    student: BaseAlgorithm,
    donor: Recipe,
    state: Mapping[str, Any],
    run_seed: int,
    seed: int,
    alive: Callable[[], None],
) -> tuple[str, ...]:
    """Train the student's networks to agree with those of the run that it starts from."""
    teacher, eval_env, _, _ = build(donor, run_seed)
    training_env = teacher.get_env()
    assert training_env is not None
    try:
        checkpoint.load(teacher, state["parameters"], state["variables"], state["counters"])
        normalization = teacher.get_vec_normalize_env()
        if normalization is not None:
            moments = next(wrapper["moments"] for wrapper in state["wrappers"] if "moments" in wrapper)
            checkpoint.restore_moments(normalization, moments)
        rng = np.random.default_rng(seed)
        if isinstance(student, OffPolicyAlgorithm):
            observations, actions = _remembered(student, rng)
            where = "of the replay buffer"
        else:
            observations, actions = _gathered(teacher, eval_env, seed), None
            where = "gathered for it, which are not counted as steps of training"
        _calibrate(student, normalization, observations)
        distil(teacher, student, observations, actions, rng, alive)
    finally:
        training_env.close()
        eval_env.close()
    return (f"its networks were distilled from those it started from, on {OBSERVATIONS:,} observations {where}",)


def distil(
    teacher: BaseAlgorithm,
    student: BaseAlgorithm,
    observations: Any,
    actions: Any,
    rng: np.random.Generator,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Minimize the divergence of the student's actions from the teacher's, and the squared error of its estimates.

    The loss is KL(teacher || student) of the action distributions, where there are such, plus the mean squared error of
    the values or action values. A deterministic policy counts as a Gaussian of unit variance around its action, which
    makes the divergence half a squared error. Errors of values are divided by the variance of the values where that is
    more than 1, so that large returns do not drown the policy.

    Args:
        teacher: its networks stay as they are.
        student: its networks are trained; target networks become copies.
        observations: not normalized, OBSERVATIONS of them.
        actions: those taken, as in a replay buffer, for algorithms whose critic takes them.
        rng: draws batches.
        alive: is called with each update.
    """
    policy: Any = student.policy
    optimizer = torch.optim.Adam(policy.parameters(), LEARNING_RATE)
    teacher.policy.set_training_mode(False)
    policy.set_training_mode(True)
    for update in range(UPDATES):
        alive()
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - update / UPDATES)
        rows = rng.integers(OBSERVATIONS, size=BATCH)
        loss = divergence(teacher, student, _rows(observations, rows), None if actions is None else actions[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    policy.set_training_mode(False)
    for name in ("actor", "critic", "q_net", "quantile_net"):
        target = getattr(policy, f"{name}_target", None)
        if target is not None:
            target.load_state_dict(getattr(policy, name).state_dict())


def divergence(teacher: BaseAlgorithm, student: BaseAlgorithm, observations: Any, actions: Any) -> torch.Tensor:
    """Return the loss of `distil` on some observations."""
    with torch.no_grad():
        acts, values = _outputs(teacher, observations, actions)
    own_acts, own_values = _outputs(student, observations, actions)
    loss = torch.zeros(())
    for act, own_act in zip(acts, own_acts, strict=True):
        loss = loss + kl_divergence(act, own_act).reshape(act.batch_shape[0], -1).sum(1).mean()
    for value, own_value in zip(values, own_values, strict=True):
        if value.shape != own_value.shape:
            raise ValueError("a run cannot go on with other numbers of critics or quantiles")
        loss = loss + (own_value - value).square().mean() / value.var().clamp_min(1.0)
    return loss


def _outputs(model: BaseAlgorithm, observations: Any, actions: Any) -> tuple[list[Distribution], list[torch.Tensor]]:
    """Return distributions of actions, and estimates of values."""
    policy: Any = model.policy
    normalization = model.get_vec_normalize_env()
    seen = observations if normalization is None else normalization.normalize_obs(observations)
    inputs, _ = policy.obs_to_tensor(seen)
    if isinstance(policy, ActorCriticPolicy):
        return _factors(policy.get_distribution(inputs)), [policy.predict_values(inputs)]
    for name in ("q_net", "quantile_net"):
        if hasattr(policy, name):
            return [], [getattr(policy, name)(inputs)]
    estimates = policy.critic(inputs, torch.as_tensor(actions))
    estimates = list(estimates) if isinstance(estimates, tuple) else [estimates]
    if isinstance(policy, TD3Policy):
        return [Normal(policy.actor(inputs), 1.0)], estimates
    mean, log_std, more = policy.actor.get_action_dist_params(inputs)
    # Squashing the actions changes no divergence.
    return _factors(policy.actor.action_dist.proba_distribution(mean, log_std, **more)), estimates


def _factors(distribution: Any) -> list[Distribution]:
    found = distribution.distribution
    return list(found) if isinstance(found, list) else [found]


def _rows(observations: Any, rows: Any) -> Any:
    return {k: v[rows] for k, v in observations.items()} if isinstance(observations, dict) else observations[rows]


def _remembered(model: OffPolicyAlgorithm, rng: np.random.Generator) -> tuple[Any, Any]:
    """Draw observations and actions from a replay buffer."""
    buffer: Any = model.replay_buffer
    space: Any = model.observation_space
    steps, envs = rng.integers(buffer.size(), size=OBSERVATIONS), rng.integers(buffer.n_envs, size=OBSERVATIONS)
    if isinstance(buffer.observations, dict):
        observations = {key: part[steps, envs] for key, part in buffer.observations.items()}
    else:
        observations = buffer.observations[steps, envs].reshape(OBSERVATIONS, *space.shape)
    return observations, buffer.actions[steps, envs]


def _gathered(teacher: BaseAlgorithm, env: VecEnv, seed: int) -> Any:
    """Gather observations with the teacher's policy in the environments that it is evaluated in."""
    normalization = teacher.get_vec_normalize_env()
    base = env.venv if isinstance(env, VecNormalize) else env
    torch.manual_seed(seed)  # actions are drawn; training's generators are restored when it begins
    base.seed(seed)
    observation: Any = base.reset()
    seen = [deepcopy(observation)]
    while len(seen) * base.num_envs < OBSERVATIONS:
        inputs = observation if normalization is None else normalization.normalize_obs(observation)
        action, _ = teacher.predict(inputs, deterministic=False)
        observation, *_ = base.step(action)
        seen.append(deepcopy(observation))  # stacked frames are written in place
    if isinstance(observation, dict):
        return {key: np.concatenate([part[key] for part in seen])[:OBSERVATIONS] for key in observation}
    return np.concatenate(seen)[:OBSERVATIONS]


def _same_inputs(donor: Recipe, recipe: Recipe) -> bool:
    """Say whether networks see observations normalized in the same way."""

    def normalized(recipe: Recipe) -> tuple[bool, Any]:
        asked = recipe.hyperparameters.get("normalize", False)
        words = {"norm_obs": asked} if isinstance(asked, bool) else asked
        return words.get("norm_obs", True), words.get("norm_obs_keys")

    return normalized(donor) == normalized(recipe)


def _calibrate(student: BaseAlgorithm, taught: VecNormalize | None, observations: Any) -> None:
    """Give the student the moments of the observations, if it normalizes what its teacher did not."""
    own = student.get_vec_normalize_env()
    if own is None or not own.norm_obs or (taught is not None and taught.norm_obs):
        return
    moments = own.obs_rms if isinstance(own.obs_rms, dict) else {"": own.obs_rms}
    for key, moment in moments.items():
        assert isinstance(moment, RunningMeanStd)
        moment.update(observations[key] if key else observations)
