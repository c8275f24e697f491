"""How plain Stable-Baselines3 trains a schedule: stage after stage, each a model that goes on where the last one ended.

Copied into the scripts of schedules, as `autorl.training.sb3.plain` is into all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from autorl.training.sb3.plain import generators, set_generators


class EndOfStage(Exception):
    """Raised to leave `learn` between two rollouts, where SB3's state is whole."""


class Stage(BaseCallback):
    """Trains to a number of environment steps, with the random generators as the stage before left them."""

    def __init__(self, until: int, before: tuple[Any, ...] | None = None) -> None:
        super().__init__()
        self.until, self.before = until, before
        self.generators: tuple[Any, ...] = ()

    def _on_rollout_start(self) -> None:
        if self.before is not None:
            set_generators(self.model, self.before)
            self.before = None
        if self.num_timesteps >= self.until:
            self.generators = generators(self.model)
            raise EndOfStage

    def _on_step(self) -> bool:
        return True


def hand_over(before: BaseAlgorithm, model: BaseAlgorithm) -> None:
    """Give a new model what another with the same policy and environments has learned, and the episodes under way.

    Networks, the moments of their optimizers, replay buffer and counters are taken over; what the new model was made
    with, such as learning rates and a constant entropy coefficient, stays.
    """
    own: dict[str, Any] = model.get_parameters()
    for name, learned in before.get_parameters().items():
        if name in own:
            kept = {"param_groups": own[name]["param_groups"]} if "param_groups" in learned else {}
            own[name] = {**learned, **kept}
    model.set_parameters(own)
    for name in set(model._get_torch_save_params()[1]) & set(before._get_torch_save_params()[1]):
        if name != "ent_coef_tensor":
            getattr(model, name).data.copy_(getattr(before, name).data)
    for name in (
        "num_timesteps",
        "_episode_num",
        "_n_updates",
        "_n_calls",
        "_current_progress_remaining",
        "exploration_rate",
        "_last_obs",
        "_last_original_obs",
        "_last_episode_starts",
        "_episode_costs",
    ):
        if hasattr(before, name):
            setattr(model, name, getattr(before, name))
    old, new = getattr(before, "replay_buffer", None), getattr(model, "replay_buffer", None)
    if old is not None and new is not None:
        kept = {k: v for k, v in vars(old).items() if isinstance(v, np.ndarray | dict) or k in ("pos", "full")}
        vars(new).update(kept)
