"""MORL/D (Felten et al. 2024, JAIR 79): a population of policies, one a weight, that learn from each other."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from morl_baselines.common.pareto import ParetoArchive
from morl_baselines.multi_policy.morld.morld import MORLD, POLICIES
from morl_baselines.single_policy.esr.eupg import EUPG, PolicyNet
from morl_baselines.single_policy.ser.mosac_continuous_action import MOSAC, MOSACActor
from morl_baselines.single_policy.ser.mosac_discrete_action import MOSACDiscrete

from autorl.training.morl.episodes import Policy, objectives


class _EUPG(EUPG):  # type: ignore[misc]  # morl-baselines has no types
    """EUPG by weighted sums, which morl-baselines 1.3.0 calls without the weights, and for arrays and tensors alike."""

    def __init__(self, env: gym.Env, scalarization: Any, **rest: Any) -> None:
        del scalarization
        if not np.issubdtype(env.observation_space.dtype, np.integer):
            raise ValueError("it remembers observations as whole numbers; use morld_mosac_discrete")
        super().__init__(env, self._weighted, **rest)

    def _weighted(self, values: Any, _weights: Any = None) -> Any:
        found = torch.as_tensor(values).float() @ torch.as_tensor(self.weights).float()
        return found if found.dim() else float(found)


_WEIGHTED_EUPG = "EUPG by weighted sums"
POLICIES[_WEIGHTED_EUPG] = _EUPG
# Set elsewhere, or by MORL/D for all of its policies. Of the ways to scalarize and to share, those that work in 1.3.0.
_NOT_OF_POLICIES = {
    "env",
    "weights",
    "scalarization",
    "gamma",
    "id",
    "log",
    "log_every",
    "seed",
    "device",
    "parent_rng",
}
_NOT_OF_POLICIES |= {"project_name", "experiment_name", "wandb_entity"}
_NOT_OF_ALL = {"scalarization_method", "evaluation_mode", "policy_name", "policy_args", "rng", "dist_metric"}


class _Archive(ParetoArchive):  # type: ignore[misc]
    """Keeps the networks of the best policies so far, without the replay buffers that morl-baselines would copy."""

    def add(self, candidate: Any, evaluation: Any) -> None:
        """Add a policy, if none is better."""
        super().add(candidate.wrapped.get_policy_net(), evaluation)


class Decomposed(MORLD):  # type: ignore[misc]
    """MORL/D with policies of one kind, whose hyperparameters it takes beside its own.

    Attributes:
        networks: all networks of the population.
    """

    kind: ClassVar[str]
    policy: ClassVar[type[Any]]
    mode: ClassVar[str] = "ser"
    lacks: ClassVar[frozenset[str]]

    @classmethod
    def arguments(cls) -> Mapping[str, inspect.Parameter]:
        """Return what it takes."""
        own = inspect.signature(MORLD).parameters.items()
        return cls._of_policies() | {key: each for key, each in own if key not in _NOT_OF_ALL | cls.lacks}

    @classmethod
    def _of_policies(cls) -> dict[str, inspect.Parameter]:
        found = inspect.signature(cls.policy).parameters
        return {key: parameter for key, parameter in found.items() if key not in _NOT_OF_POLICIES}

    def __init__(self, env: gym.Env, **given: Any) -> None:
        args = {key: given.pop(key) for key in self._of_policies().keys() & given.keys()}
        args["device"] = given["device"]
        super().__init__(env, policy_name=self.kind, policy_args=args, evaluation_mode=self.mode, **given)
        self.archive = _Archive()
        self.networks = [
            each
            for policy in self.population
            for each in vars(policy.wrapped).values()
            if isinstance(each, torch.nn.Module)
        ]


class DecomposedMOSAC(Decomposed):
    """MORL/D of SACs for continuous actions."""

    kind, policy = "MOSAC", MOSAC
    lacks = frozenset({"sharing_mechanism"})


class DecomposedMOSACDiscrete(Decomposed):
    """MORL/D of SACs for discrete actions."""

    kind, policy = "MOSACDiscrete", MOSACDiscrete
    lacks = frozenset({"sharing_mechanism"})


class DecomposedEUPG(Decomposed):
    """MORL/D of policy gradients for discrete actions, whose policies see what the episode has earned so far."""

    kind, policy = _WEIGHTED_EUPG, EUPG
    mode = "esr"
    lacks = frozenset({"shared_buffer"})


def populated(agent: Decomposed, given: Mapping[str, Any]) -> list[Policy]:
    """Return the policies that MORL/D found best when it looked, and those that it trains now."""
    del given
    nets = [*agent.archive.individuals, *(policy.wrapped.get_policy_net() for policy in agent.population)]
    return [partial(_play, net) for net in nets]


def _play(net: torch.nn.Module, env: gym.Env) -> None:
    """Play an episode by the most probable actions."""
    observation, over, earned = env.reset()[0], False, np.zeros(objectives(env) or 0)
    while not over:
        observation, reward, terminated, truncated, _ = env.step(_mode(net, observation, earned))
        earned += np.asarray(reward, float)
        over = terminated or truncated


@torch.no_grad()
def _mode(net: Any, observation: Any, earned: Any) -> Any:
    seen = torch.as_tensor(np.asarray(observation)).float()
    if isinstance(net, PolicyNet):
        return int(net(seen, torch.as_tensor(earned).float()).argmax())
    if isinstance(net, MOSACActor):
        return net.get_action(seen[None])[2][0].numpy()
    return int(net(seen[None]).argmax())
