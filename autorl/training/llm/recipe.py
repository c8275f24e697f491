"""The recipe: every choice of RL for language models that a study can make, and what each is called.

An algorithm's name is a set of defaults; any of them can be fixed or searched. Papers: DeepSeekMath (GRPO, Shao et al.
2024, arXiv 2402.03300), RLOO (Ahmadian et al. 2024, arXiv 2402.14740), Dr. GRPO (Liu et al. 2025, arXiv 2503.20783),
DAPO (Yu et al. 2025, arXiv 2503.14476), GSPO (Zheng et al. 2025, arXiv 2507.18071), CISPO (MiniMax-M1, 2025, arXiv
2506.13585), Lite PPO (Liu et al. 2025, arXiv 2508.08221), PF-PPO (Zhang et al. 2024, arXiv 2409.06957), DPH-RL (2025,
arXiv 2509.07430), BroRL (2025, arXiv 2510.01180), EAD (2025, arXiv 2510.05251).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from autorl.errors import did_you_mean

WORDS: Mapping[str, tuple[str, ...]] = {
    "lr_schedule": ("constant", "linear"),
    "loss": ("clip", "cispo", "reinforce", "imitation"),
    "advantage_baseline": ("group", "leave_one_out", "batch", "none"),
    "advantage_scale": ("group", "batch", "none"),
    "aggregation": ("sequence", "token", "constant"),
    "ratio": ("token", "sequence"),
    "divergence": ("none", "reverse_kl", "forward_kl", "jensen_shannon"),
    "overlong": ("none", "mask", "penalty"),
    "group_filter": ("none", "best_worst"),
}
_WHOLE = {"prompts": 1, "rollouts": 1, "minibatches": 1, "epochs": 1, "warmup_steps": 0, "max_tokens": 1}
_WHOLE |= {"overlong_buffer": 1, "resamplings": 0, "sft_steps": 0, "sft_batch": 1, "sft_seed": 0}
_POSITIVE = (
    "learning_rate",
    "temperature",
    "temperature_end",
    "temperature_decay",
    "max_grad_norm",
    "sft_learning_rate",
)
_SHARES = ("sft_noise", "adam_beta2", "filter_keep", "clip_low")


@dataclass(frozen=True)
class Settings:
    """Everything that a run's recipe says.

    Attributes:
        learning_rate: of AdamW.
        lr_schedule: `constant`, or `linear` down to 0.
        warmup_steps: steps over which the learning rate rises first.
        weight_decay: of AdamW.
        adam_beta2: of AdamW.
        max_grad_norm: largest norm of the gradient.
        prompts: problems of a step.
        rollouts: completions of each (BroRL has many).
        minibatches: gradient steps into which a step's completions are divided.
        epochs: how often they are used.
        max_tokens: of a completion, with its end.
        loss: `clip` (PPO's), `cispo`, `reinforce`, or `imitation` of right answers (expert iteration).
        advantage_baseline: what is taken off a reward: the mean of its group, of the others of its group, of the whole
            step's, or nothing.
        advantage_scale: what the difference is divided by: the standard deviation over the group, over the step, or
            nothing.
        aggregation: how tokens' losses become one: mean over each completion first (`sequence`), over all tokens
            (`token`), or their sum over a constant (`constant`).
        ratio: importance ratios of tokens, or of whole completions (GSPO).
        clip_low: how far below 1 a ratio counts.
        clip_high: how far above.
        divergence: from the model at the start.
        divergence_coef: its coefficient.
        entropy_coef: of the entropy, which is added.
        temperature: with which completions are drawn; with `temperature_end`, at their first token.
        temperature_end: the lowest temperature along a completion (EAD); None leaves it as it is.
        temperature_decay: tokens over which it falls.
        dynamic_sampling: whether groups that are all right or all wrong are drawn again (DAPO).
        resamplings: how often at most.
        overlong: what becomes of a completion that has not ended: nothing, it is left out (`mask`), or those that come
            near the limit are punished too (`penalty`).
        overlong_buffer: tokens before the limit in which the punishment rises.
        group_filter: `best_worst` learns from each group's best and worst completions alone (PF-PPO).
        filter_keep: what share of a group that is.
        sft_steps: supervised steps on demonstrations before RL.
        sft_batch: demonstrations of each.
        sft_learning_rate: highest learning rate there.
        sft_noise: how often the demonstrations are wrong; see `Task.demonstration`.
        sft_seed: of the warm-up; the model that it leads to is the same for all seeds of a study.
    """

    learning_rate: float = 1e-4
    lr_schedule: str = "constant"
    warmup_steps: int = 5
    weight_decay: float = 0.0
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    prompts: int = 32
    rollouts: int = 8
    minibatches: int = 2
    epochs: int = 1
    max_tokens: int = 28
    loss: str = "clip"
    advantage_baseline: str = "group"
    advantage_scale: str = "group"
    aggregation: str = "sequence"
    ratio: str = "token"
    clip_low: float = 0.2
    clip_high: float = 0.2
    divergence: str = "none"
    divergence_coef: float = 0.04
    entropy_coef: float = 0.0
    temperature: float = 1.0
    temperature_end: float | None = None
    temperature_decay: float = 10.0
    dynamic_sampling: bool = False
    resamplings: int = 3
    overlong: str = "none"
    overlong_buffer: int = 8
    group_filter: str = "none"
    filter_keep: float = 0.5
    sft_steps: int = 1000
    sft_batch: int = 64
    sft_learning_rate: float = 4e-3
    sft_noise: float = 0.12
    sft_seed: int = 0

    @property
    def per_step(self) -> int:
        """Completions of a step, if none are drawn again."""
        return self.prompts * self.rollouts


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "grpo": {"divergence": "reverse_kl"},
    "dr_grpo": {"advantage_scale": "none", "aggregation": "constant"},
    "rloo": {"advantage_baseline": "leave_one_out", "advantage_scale": "none", "loss": "reinforce"},
    "dapo": {"aggregation": "token", "clip_high": 0.28, "dynamic_sampling": True, "overlong": "penalty"},
    "lite_ppo": {"advantage_scale": "batch", "aggregation": "token"},
    "gspo": {"ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4},
    "cispo": {"loss": "cispo", "aggregation": "token"},
    "reinforce": {
        "loss": "reinforce",
        "advantage_baseline": "batch",
        "advantage_scale": "none",
        "aggregation": "token",
    },
    "expert_iteration": {"loss": "imitation", "advantage_baseline": "none", "advantage_scale": "none"},
}
"""Algorithm → where its defaults differ from those of `Settings`."""


def defaults(name: str) -> dict[str, Any]:
    """Return every key of the recipe with an algorithm's default."""
    return {**{field.name: field.default for field in fields(Settings)}, **PRESETS[name]}


def settings(name: str, hyperparameters: Mapping[str, Any]) -> Settings:
    """Return the recipe of an algorithm with some keys set."""
    return Settings(**{**defaults(name), **hyperparameters})


def wrong(key: str, value: Any) -> str | None:
    """Say what is wrong with the value of a key, or None."""
    if key in WORDS:
        known = WORDS[key]
        return None if value in known else f"unknown {key} '{value}'{did_you_mean(str(value), known)}"
    if key == "dynamic_sampling":
        return None if isinstance(value, bool) else f"{value!r} must be true or false"
    if value is None and key == "temperature_end":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{value!r} must be a number"
    if key in _WHOLE and (not isinstance(value, int) or value < _WHOLE[key]):
        return f"{value!r} must be a whole number of at least {_WHOLE[key]}"
    if key in _POSITIVE and not value > 0:
        return f"{value!r} must be above 0"
    if key in _SHARES and not 0 <= value <= 1:
        return f"{value!r} must lie between 0 and 1"
    if value < 0:
        return f"{value!r} must not be below 0"
    return None


def contradictions(own: Settings) -> Iterator[str]:
    """Find what of a recipe cannot go together."""
    if own.rollouts == 1 and own.advantage_baseline in ("group", "leave_one_out"):
        yield f"advantage_baseline {own.advantage_baseline} needs at least 2 rollouts"
    if own.rollouts == 1 and own.advantage_scale == "group":
        yield "advantage_scale group needs at least 2 rollouts"
    if own.minibatches > own.per_step:
        yield f"{own.minibatches} minibatches are more than the {own.per_step} completions of a step"
