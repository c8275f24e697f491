"""The recipe in TRL's words: what its GRPOTrainer (TRL 1.16) is given, what engine trl adds to it, what neither can."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from autorl.errors import did_you_mean
from autorl.training.llm.recipe import Settings

POLICY: Mapping[str, Any] = {
    "model": None,
    "lora_rank": 0,
    "teacher": None,
    "device": "auto",
    "dtype": "auto",
    "vllm": False,
}
"""Key of the policy → its default."""
_WORDS = {"device": ("auto", "cpu", "cuda"), "dtype": ("auto", "float32", "bfloat16")}
_LOSSES = {"sequence": "grpo", "token": "bnpo", "constant": "dr_grpo"}
_OWN_LOSSES = ("clip", "cispo")
_OF_SMALL = {
    "loss": {
        "pacs": "keeps the completions of a prompt together, and TRL shuffles them",
        "rover": "needs the whole vocabulary's probabilities of all completions of a step",
    },
    "advantage_baseline": {"critic": "needs a second model in training"},
}


def wrong_policy(given: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """Find what is wrong with the policy of engine trl.

    Args:
        given: its keys that are set.

    Yields:
        The key, None if it is missing, and the mistake.
    """
    for key in given.keys() - POLICY:
        yield key, f"engine trl has no '{key}'{did_you_mean(key, POLICY)}"
    policy = {**POLICY, **given}
    if not isinstance(policy["model"], str):
        yield None, "engine trl needs a model: its folder, or its name on the Hugging Face hub"
    if not isinstance(policy["teacher"], str | None):
        yield "teacher", f"{policy['teacher']!r} must be a model's folder, or its name on the Hugging Face hub"
    rank = policy["lora_rank"]
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 0:
        yield "lora_rank", f"{rank!r} must be a whole number; 0 trains the whole model"
    for key, words in _WORDS.items():
        if policy[key] not in words:
            yield key, f"unknown {key} '{policy[key]}'; allowed: {', '.join(words)}"
    if not isinstance(policy["vllm"], bool):
        yield "vllm", f"{policy['vllm']!r} must be true or false"
    elif policy["vllm"] and policy["device"] == "cpu":
        yield "vllm", "engine trl has vLLM on a GPU only; leave device out, or vllm"
    elif policy["vllm"] and find_spec("vllm") is None:
        yield "vllm", "vLLM is not installed; run: pip install vllm, or leave this out"


def of_small(key: str, value: Any) -> str | None:
    """Say why a key of the recipe cannot have a value with engine trl, whatever the rest of it, or None."""
    if key.startswith("sft_"):
        return f"engine trl begins with the model as it is; leave {key} out, or use engine small"
    if key in ("teacher_steps", "teacher_noise"):
        return f"engine trl's teacher is the model policy.teacher; leave {key} out, or use engine small"
    reasons = _OF_SMALL.get(key, {})
    return f"{key} {value} {reasons[value]}; use engine small" if value in reasons else None


def missing(own: Settings, policy: Mapping[str, Any]) -> Iterator[str]:
    """Say which parts of a recipe engine trl cannot train.

    Args:
        own: the recipe.
        policy: the policy.
    """
    yield from filter(None, (of_small(key, getattr(own, key)) for key in _OF_SMALL))
    if own.taught and not policy.get("teacher"):
        yield "teacher_coef needs a teacher: set policy.teacher to the folder or the name of a model"
    if own.rollouts < 2:
        yield "TRL needs at least 2 rollouts"
    for count in sorted({own.per_step, own.prompts * own.kept}):
        if count % own.minibatches:
            yield f"engine trl needs minibatches that divide {count} completions of a step; {own.minibatches} do not"
    if policy.get("vllm") and (lacking := [*_beyond_trls_loss(own)]):
        yield f"policy.vllm goes with TRL's own loss, which has no {', no '.join(lacking)}"


def missing_in_plain_trl(own: Settings) -> Iterator[str]:
    """Say which parts of a recipe engine trl adds to TRL's trainer, which by itself has them not."""
    added = {
        "dynamic_sampling": own.dynamic_sampling,
        f"group_filter {own.group_filter}": own.group_filter != "none",
        "flaw_penalty": own.flaw_penalty > 0,
    }
    yield from (f"TRL has no {part}" for part in _beyond_trls_loss(own))
    yield from (f"TRL has no {part}" for part, used in added.items() if used)
    if own.advantage_baseline != "group":
        yield f"TRL has no advantage_baseline {own.advantage_baseline}, only group"
    if own.overlong == "penalty":
        yield "TRL's overlong penalty is a reward function; use none or mask"


def within_trls_loss(own: Settings) -> bool:
    """Say whether TRL's own loss is the recipe's, so that nothing needs the whole vocabulary's probabilities."""
    return not any(_beyond_trls_loss(own))


def _beyond_trls_loss(own: Settings) -> Iterator[str]:
    parts = {
        f"loss {own.loss}": own.loss not in _OWN_LOSSES,
        "cispo but with aggregation token": own.loss == "cispo" and own.aggregation != "token",
        f"divergence {own.divergence}": own.divergence not in ("none", "reverse_kl"),
        "temperature that falls along a completion (temperature_end)": own.temperature_end is not None,
        "lp_coef": own.lp_coef > 0,
        "teacher_coef": own.taught,
    }
    yield from (part for part, used in parts.items() if used)


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
    loss = "cispo" if own.loss == "cispo" else _LOSSES[own.aggregation]
    plain = within_trls_loss(own)
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
        "loss_type": loss,
        "scale_rewards": own.advantage_scale,
        "importance_sampling_level": own.ratio,
        "epsilon": own.clip_low,
        # of cispo TRL takes the bound itself
        "epsilon_high": 1.0 + own.clip_high if loss == "cispo" else own.clip_high,
        "beta": own.divergence_coef if plain and own.divergence == "reverse_kl" else 0.0,
        "entropy_coef": own.entropy_coef,
        "temperature": own.temperature,
        "mask_truncated_completions": own.overlong == "mask",
    }
