"""morl-baselines' algorithms by name: what each takes, how it is made and trained, and which policies it has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from morl_baselines.common.evaluation import eval_mo
from morl_baselines.common.weights import equally_spaced_weights
from morl_baselines.multi_policy.capql.capql import CAPQL
from morl_baselines.multi_policy.envelope.envelope import Envelope
from morl_baselines.multi_policy.gpi_pd.gpi_pd import GPILS
from morl_baselines.multi_policy.gpi_pd.gpi_pd_continuous_action import GPILSContinuousAction
from morl_baselines.multi_policy.multi_policy_moqlearning.mp_mo_q_learning import MPMOQLearning
from morl_baselines.multi_policy.pareto_q_learning.pql import PQL
from morl_baselines.multi_policy.pcn.pcn import PCN

from autorl.training.morl.decomposition import (
    Decomposed,
    DecomposedEUPG,
    DecomposedMOSAC,
    DecomposedMOSACDiscrete,
    populated,
)
from autorl.training.morl.episodes import Clock, Policy, objectives
from autorl.training.morl.model_based import GPIPD, GPIPDContinuous
from autorl.training.words import NET_ARCHS

# Arguments that the study sets elsewhere, that only matter for logs, or that no file can write down.
_NOT_HYPERPARAMETERS = {
    "self",
    "env",
    "seed",
    "device",
    "project_name",
    "experiment_name",
    "wandb_entity",
    "group",
    "log",
    "log_every",
    "scalarization",
    "model_class",
    "total_timesteps",
    "total_episodes",
    "weight",
    "eval_env",
    "ref_point",
    "known_pareto_front",
    "num_eval_weights_for_eval",
    "eval_freq",
    "eval_mo_freq",
    "reset_num_timesteps",
    "reset_learning_starts",
    "checkpoints",
    "save_freq",
    "verbose",
}
_ARRAYS = {"ref_point", "max_return"}


class Agent(Protocol):
    """What a run trains."""

    def train(self, env_steps: int) -> None:
        """Train for at least so many steps; the environment ends it when they are taken."""
        ...

    def policies(self) -> Sequence[Policy]:
        """Return its policies as they are now."""
        ...

    def networks(self) -> Iterator[torch.nn.Module]:
        """Yield its networks."""
        ...


class _PCN(PCN):  # type: ignore[misc]  # morl-baselines has no types
    """PCN without the evaluations and files that it makes a thousand times in a run, and uses for nothing."""

    def save(self, filename: str = "", save_dir: str = "") -> None:
        pass

    def evaluate(self, env: gym.Env, max_return: Any, n: int = 0) -> tuple[list[Any], Any, Any]:
        return [], None, None


def _tracked(agent: PQL, given: Mapping[str, Any]) -> list[Policy]:
    """Return a policy for each vector that PQL believes attainable from the first state."""
    del given
    state = int(np.ravel_multi_index(agent.env.first_observation, agent.env_shape))
    return [partial(agent.track_policy, vector) for vector in sorted(agent.get_local_pcs(state))]


def _commanded(agent: PCN, given: Mapping[str, Any]) -> list[Policy]:
    """Return a policy for each return and horizon of the best episodes that PCN remembers."""
    limit = given.get("max_return")
    limit = np.full(agent.reward_dim, 100.0) if limit is None else limit
    remembered = agent.experience_replay
    if not remembered:
        return [_following(agent, np.zeros(agent.reward_dim), 1.0, limit)]
    agent.experience_replay = list(remembered)  # choosing the best changes their order, and so what is learned next
    best = agent._nlargest(min(given["num_points_pf"], len(remembered))) if len(remembered) > 1 else remembered
    agent.experience_replay = remembered
    commands = {(tuple(map(float, episode[0].reward)), float(len(episode))) for _, _, episode in best}
    return [_following(agent, np.array(wanted), horizon, limit) for wanted, horizon in sorted(commands)]


def _following(agent: PCN, wanted: Any, horizon: float, limit: Any) -> Policy:
    command, steps = np.float32(wanted), np.float32(horizon)
    return lambda env: agent._run_episode(env, command, steps, limit, eval_mode=True)


def _weighted(agent: Any, given: Mapping[str, Any]) -> list[Policy]:
    """Return a policy for each of evenly spaced weights, which the agent's networks take as an input."""
    weights = equally_spaced_weights(agent.reward_dim, given["num_eval_weights_for_front"])
    return [partial(eval_mo, agent, w=w) for w in weights]


def _several(agent: MPMOQLearning, given: Mapping[str, Any]) -> list[Policy]:
    """Return the policies learned one after the other, or what generalized policy improvement makes of them."""
    if agent.use_gpi_policy:
        return _weighted(agent, given)
    return [partial(eval_mo, policy, w=policy.weights) for policy in agent.policies]


@dataclass(frozen=True)
class _Kind:
    """An algorithm.

    Attributes:
        made: its class.
        policies: agent, hyperparameters → its policies.
        iteration: the hyperparameter that divides training into iterations, of which morl-baselines trains whole ones.
        hidden: further arguments that are no hyperparameters here.
    """

    made: type[Any]
    policies: Callable[[Any, Mapping[str, Any]], list[Policy]]
    iteration: str | None = None
    hidden: frozenset[str] = frozenset()


_ONLY_LOGGED = frozenset({"num_eval_episodes_for_front"})
# What makes one of the two of the other; without prioritized replay morl-baselines 1.3.0 raises at the first update.
_GPI = frozenset({"per", "dyna", "gpi_pd"})


def _arguments(made: type[Any]) -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a class, of the first ancestor that names them."""
    if issubclass(made, Decomposed):
        return made.arguments()
    signatures = (inspect.signature(ancestor).parameters for ancestor in made.__mro__)
    return next(found for found in signatures if "args" not in found)


def _of_model(made: type[Any], *kept: str) -> frozenset[str]:
    return frozenset(key for key in _arguments(made) if key.startswith("dynamics_") and key not in kept)


_KINDS: Mapping[str, _Kind] = {
    "pql": _Kind(PQL, _tracked),
    "mpmoqlearning": _Kind(MPMOQLearning, _several, "timesteps_per_iteration"),
    "pcn": _Kind(_PCN, _commanded),
    "envelope": _Kind(Envelope, _weighted, hidden=_ONLY_LOGGED),
    "gpi_pd": _Kind(GPIPD, _weighted, "timesteps_per_iter", _GPI),
    "gpi_pd_continuous": _Kind(GPIPDContinuous, _weighted, "timesteps_per_iter", _GPI),
    # From dynamics_rollout_starts on there are gradient_updates a step, with a model of the dynamics or without.
    "gpi_ls": _Kind(
        GPILS, _weighted, "timesteps_per_iter", _GPI | {"real_ratio"} | _of_model(GPILS, "dynamics_rollout_starts")
    ),
    "gpi_ls_continuous": _Kind(
        GPILSContinuousAction, _weighted, "timesteps_per_iter", _GPI | _of_model(GPILSContinuousAction)
    ),
    "capql": _Kind(CAPQL, _weighted, hidden=_ONLY_LOGGED),
    "morld_mosac": _Kind(DecomposedMOSAC, populated, "exchange_every"),
    "morld_mosac_discrete": _Kind(DecomposedMOSACDiscrete, populated, "exchange_every"),
    "morld_eupg": _Kind(DecomposedEUPG, populated, "exchange_every"),
}
ALGORITHMS: tuple[str, ...] = tuple(_KINDS)


def own_defaults(name: str) -> dict[str, Any]:
    """Return every hyperparameter that an algorithm takes, with its default: arguments of making and of training it."""
    kind = _KINDS[name]
    found = {
        key: None if parameter.default is inspect.Parameter.empty else parameter.default
        for key, parameter in {**_arguments(kind.made), **inspect.signature(kind.made.train).parameters}.items()
        if key not in _NOT_HYPERPARAMETERS | kind.hidden
    }
    if name == "pcn":
        found["scaling_factor"] = 0.1
    if name == "gpi_pd":
        found["dynamics_train_freq"] = 250
    return found


class BaselinesAgent:
    """An agent of morl-baselines."""

    def __init__(self, name: str, given: Mapping[str, Any], env: Clock, own_env: gym.Env, seed: int) -> None:
        """Make the agent; the global generators are to be seeded before.

        Args:
            name: of the algorithm.
            given: hyperparameters, and `ref_point`.
            env: training environment.
            own_env: environment of the evaluations that the algorithm itself learns from.
            seed: of its own generator.
        """
        self._kind = _KINDS[name]
        self._own_env = own_env
        self._given = {key: _argument(key, value, env) for key, value in {**own_defaults(name), **given}.items()}
        taken = _arguments(self._kind.made)
        offered = {**self._given, "seed": seed, "log": False, "device": "cpu"}
        self.agent: Any = self._kind.made(env, **{key: value for key, value in offered.items() if key in taken})

    def train(self, env_steps: int) -> None:
        """Train; see `Agent`."""
        iteration = self._given[self._kind.iteration] if self._kind.iteration is not None else 0
        offered = {
            **self._given,
            "total_timesteps": env_steps + iteration,
            "eval_env": self._own_env,
            "checkpoints": False,
        }
        taken = inspect.signature(self.agent.train).parameters
        self.agent.train(**{key: value for key, value in offered.items() if key in taken})

    def policies(self) -> Sequence[Policy]:
        """Return the policies; see `Agent`."""
        return self._kind.policies(self.agent, self._given)

    def networks(self) -> Iterator[torch.nn.Module]:
        """Yield the networks; see `Agent`."""
        for value in vars(self.agent).values():
            yield from (
                each for each in (value if isinstance(value, list) else [value]) if isinstance(each, torch.nn.Module)
            )


def _argument(key: str, value: Any, env: gym.Env) -> Any:
    """Turn a value of a study file into what morl-baselines takes."""
    if key.endswith("net_arch") and isinstance(value, str):
        return NET_ARCHS[value]
    if key == "scaling_factor" and not isinstance(value, Sequence):
        # One number for all returns, and a tenth of it for the horizon, as in morl-baselines' own examples.
        return np.array([value] * (objectives(env) or 0) + [value / 10])
    if key in _ARRAYS | {"scaling_factor"} and value is not None:
        return np.array(value, np.float32 if key == "max_return" else float)
    return value
