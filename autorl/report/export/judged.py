"""What a script of Stable-Baselines3 has for costs, specifications and the algorithm that learns from costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autorl.training import signals
from autorl.training.sb3 import lagrangian
from autorl.training.sb3.algorithms import ALGORITHMS, CONSTRAINED
from autorl.trial import Recipe

_IMPORTS_OF_LAGRANGIAN = (
    "from stable_baselines3 import PPO",
    "from stable_baselines3.common.buffers import RolloutBuffer",
    "from stable_baselines3.common.policies import ActorCriticPolicy",
    "from stable_baselines3.common.preprocessing import preprocess_obs",
    "from stable_baselines3.common.torch_layers import create_mlp",
    "from stable_baselines3.common.type_aliases import Schedule",
    "from stable_baselines3.common.utils import obs_as_tensor, update_learning_rate",
)


@dataclass(frozen=True)
class Judged:
    """What a script has beside what all have.

    Attributes:
        standard: imports of the standard library.
        vendors: imports of others.
        copied: classes and functions whose source it contains.
        constants: its constants, as code.
        learned_from: what is made of each training environment `env`, as code.
        measured: what is made of each evaluation environment.
        added_up: what is measured, as a further argument of `Evaluations`.
        needs: modules that it needs, for a sentence.
    """

    standard: tuple[str, ...]
    vendors: tuple[str, ...]
    copied: tuple[Any, ...]
    constants: str
    learned_from: str
    measured: str
    added_up: str
    needs: str


def judged(recipe: Recipe) -> Judged:
    """Return what the script of a recipe has for its cost, its specification and its algorithm."""
    module, name = ALGORITHMS[recipe.algorithm]
    standard: set[str] = set()
    vendors: set[str] = {f"from {module} import {name}"}
    copied: list[Any] = []
    constants, env, learned_from, needs = "", "env", "env", ""
    if recipe.cost is not None:
        standard |= {"import re", "from functools import partial"}
        copied += [signals.cost_function, signals.CostSignal]
        constants += f"COST = {recipe.cost!r}\n"
        env = f"CostSignal({env}, COST)"
        learned_from = env if recipe.algorithm in CONSTRAINED else "env"
        module, _, function = (recipe.cost if isinstance(recipe.cost, str) else next(iter(recipe.cost))).partition(":")
        needs += f", {module}" if function else ""
    if recipe.specification is not None:
        copied += [signals.Robustness]
        constants += f"SPECIFICATION = {recipe.specification!r}\n"
        env = f"Robustness({env}, SPECIFICATION)"
        needs += ", rtamt"
    if recipe.algorithm in CONSTRAINED:
        vendors = set(_IMPORTS_OF_LAGRANGIAN)
        copied += [lagrangian.CostCritic, lagrangian.PPOLagrangian, lagrangian.of_environment, lagrangian.batch_of_one]
    found = signals.measured_keys(recipe.cost, recipe.specification)
    return Judged(
        tuple(standard),
        tuple(vendors),
        tuple(copied),
        constants,
        learned_from,
        env,
        f", {found!r}" if found else "",
        needs,
    )
