"""The recipe in TRL's words: what its GRPOTrainer (TRL 1.16) is given, and what it cannot do."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from autorl.training.llm.recipe import Settings

_LOSSES = {"sequence": "grpo", "token": "bnpo", "constant": "dr_grpo"}


def missing(own: Settings, named: Collection[str]) -> Iterator[str]:
    """Say which parts of a recipe TRL's trainer has no word for.

    Args:
        own: the recipe.
        named: keys that the study sets or searches.
    """
    for key in named:
        if key.startswith("sft_"):
            yield f"engine trl begins with the model as it is; leave {key} out, or use engine small"
    lacking = {
        f"loss {own.loss}": own.loss not in ("clip", "cispo"),
        f"divergence {own.divergence}": own.divergence not in ("none", "reverse_kl"),
        "critic": own.advantage_baseline == "critic",
        "temperature that falls along a completion (temperature_end)": own.temperature_end is not None,
        "dynamic_sampling": own.dynamic_sampling,
        f"group_filter {own.group_filter}": own.group_filter != "none",
        "lp_coef": own.lp_coef > 0,
        "teacher_coef": own.taught,
        "flaw_penalty": own.flaw_penalty > 0,
    }
    yield from (f"TRL has no {part}; leave it out, or use engine small" for part, used in lacking.items() if used)
    if own.loss == "cispo" and own.aggregation != "token":
        yield "TRL's cispo has aggregation token only"
    if own.rollouts < 2:
        yield "TRL needs at least 2 rollouts"
    if own.per_step % own.minibatches:
        yield f"TRL needs minibatches that divide the {own.per_step} completions of a step"


def missing_in_plain_trl(own: Settings) -> Iterator[str]:
    """Say which parts of a recipe engine trl adds to TRL's trainer, which by itself has them not."""
    if own.advantage_baseline != "group":
        yield f"TRL has no advantage_baseline {own.advantage_baseline}, only group"
    if own.overlong == "penalty":
        yield "TRL's overlong penalty is a reward function; use none or mask"


def options(own: Settings, completions: int) -> dict[str, Any]:
    """Return the arguments of `GRPOConfig` that a recipe sets.

    Advantages are not among them: TRL's own are the group's, and engine trl puts the recipe's in their place. TRL
    estimates the reverse divergence from the tokens drawn (its k3), where engine small takes the whole vocabulary.

    Args:
        own: the recipe, of which nothing is `missing`.
        completions: of a full run.
    """
    gradient_steps = own.minibatches * own.epochs
    schedule = {"constant": "constant_with_warmup", "linear": "linear"}[own.lr_schedule]
    cispo = own.loss == "cispo"
    return {
        "learning_rate": own.learning_rate,
        "lr_scheduler_type": schedule,
        "warmup_steps": own.warmup_steps * gradient_steps,
        "weight_decay": own.weight_decay,
        "adam_beta2": own.adam_beta2,
        "max_grad_norm": own.max_grad_norm,
        "max_steps": math.ceil(completions / own.per_step) * gradient_steps,
        "per_device_train_batch_size": own.per_step // own.minibatches,
        "steps_per_generation": own.minibatches,
        "gradient_accumulation_steps": 1,
        "num_iterations": own.epochs,
        "num_generations": own.rollouts,
        "max_completion_length": own.max_tokens,
        "loss_type": "cispo" if cispo else _LOSSES[own.aggregation],
        "scale_rewards": own.advantage_scale,
        "importance_sampling_level": own.ratio,
        "epsilon": own.clip_low,
        "epsilon_high": 1.0 + own.clip_high if cispo else own.clip_high,  # of cispo TRL takes the bound itself
        "beta": own.divergence_coef if own.divergence == "reverse_kl" else 0.0,
        "entropy_coef": own.entropy_coef,
        "temperature": own.temperature,
        "mask_truncated_completions": own.overlong == "mask",
    }
