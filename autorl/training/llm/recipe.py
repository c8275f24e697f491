"""The recipe: every choice of RL for language models that a study can make, and what each is called.

An algorithm's name is a set of defaults; any of them can be fixed or searched. Papers: DeepSeekMath (GRPO, Shao et al.
2024, arXiv 2402.03300), RLOO (Ahmadian et al. 2024, arXiv 2402.14740), Dr. GRPO (Liu et al. 2025, arXiv 2503.20783),
DAPO (Yu et al. 2025, arXiv 2503.14476), GSPO (Zheng et al. 2025, arXiv 2507.18071), CISPO (MiniMax-M1, 2025, arXiv
2506.13585), Lite PPO (Liu et al. 2025, arXiv 2508.08221), PF-PPO (Zhang et al. 2024, arXiv 2409.06957), DPH-RL (2025,
arXiv 2509.07430), BroRL (2025, arXiv 2510.01180), EAD (2025, arXiv 2510.05251), Lp-Reg (Huang et al. 2025, arXiv
2510.03222), GRPO-RoC (rStar2-Agent, Shang et al. 2025, arXiv 2508.20722), KDRL (Xu et al. 2025, arXiv 2506.02208), PACS
(Li et al. 2025, arXiv 2509.02522), ROVER (He et al. 2025, arXiv 2509.24981), OREAL (Lyu et al. 2025, arXiv 2502.06781),
FAPO (Ding et al. 2025, arXiv 2510.22543).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from autorl.errors import did_you_mean

WORDS: Mapping[str, tuple[str, ...]] = {
    "lr_schedule": ("constant", "linear"),
    "loss": ("clip", "cispo", "reinforce", "imitation", "oreal", "pacs", "rover"),
    "advantage_baseline": ("group", "leave_one_out", "batch", "critic", "none"),
    "advantage_scale": ("group", "batch", "none"),
    "aggregation": ("sequence", "token", "constant"),
    "ratio": ("token", "sequence"),
    "divergence": ("none", "reverse_kl", "forward_kl", "jensen_shannon"),
    "overlong": ("none", "mask", "penalty"),
    "group_filter": ("none", "best_worst", "on_correct"),
    "teacher_on": ("all", "wrong"),
}
_WHOLE = {"prompts": 1, "rollouts": 1, "minibatches": 1, "epochs": 1, "warmup_steps": 0, "max_tokens": 1}
_WHOLE |= {"overlong_buffer": 1, "resamplings": 0, "sft_steps": 0, "sft_batch": 1, "sft_seed": 0, "teacher_steps": 1}
_POSITIVE = (
    "learning_rate",
    "temperature",
    "temperature_end",
    "temperature_decay",
    "max_grad_norm",
    "sft_learning_rate",
    "critic_learning_rate",
    "score_scale",
    "filter_keep",
)
_SHARES = ("sft_noise", "teacher_noise", "adam_beta2", "filter_keep", "clip_low", "gae_lambda", "lp_share", "lp_least")


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
        loss: `clip` (PPO's), `cispo`, `reinforce`, `imitation` of right answers (expert iteration), `oreal` (imitation
            of right ones, policy gradient for wrong ones), `pacs` (predicting which are right), or `rover` (values of
            the policy that acts at random).
        negative_coef: weight of wrong answers in `oreal`.
        score_scale: what differences of logarithms of probabilities are worth in `pacs` (its beta) and `rover` (rho).
        advantage_baseline: what is taken off a reward: the mean of its group, of the others of its group, of the whole
            step's, what a critic expects at each token, or nothing.
        gae_lambda: of generalized advantage estimation, with a critic; the discount is 1.
        critic_learning_rate: of the critic, a second model that begins as the first does.
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
        lp_coef: how much tokens that are rare, but not absurd, are kept from becoming rarer (Lp-Reg).
        lp_share: what share of a minibatch's tokens is rare.
        lp_least: what is absurd: less than this part of the most probable token's probability.
        teacher_coef: of the divergence from a teacher, KL(policy || teacher), at the start (KDRL).
        teacher_coef_end: at the end of a full run; None leaves it as it is.
        teacher_on: `wrong` learns from the teacher where the answer was wrong.
        teacher_steps: supervised steps with which the teacher is made from demonstrations, as the model itself is.
        teacher_noise: how often these are wrong.
        temperature: with which completions are drawn; with `temperature_end`, at their first token.
        temperature_end: the lowest temperature along a completion (EAD); None leaves it as it is.
        temperature_decay: tokens over which it falls.
        dynamic_sampling: whether groups that are all right or all wrong are drawn again (DAPO).
        resamplings: how often at most.
        overlong: what becomes of a completion that has not ended: nothing, it is left out (`mask`), or those that come
            near the limit are punished too (`penalty`).
        overlong_buffer: tokens before the limit in which the punishment rises.
        group_filter: `best_worst` learns from each group's best and worst completions alone (PF-PPO); `on_correct` from
            the share of its right ones with the fewest flaws, more or less, and of any wrong ones (GRPO-RoC).
        filter_keep: what share of a group that is.
        flaw_penalty: what is taken off the reward of a right answer that follows from wrong steps (FAPO).
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
    negative_coef: float = 0.5
    score_scale: float = 1.0
    advantage_baseline: str = "group"
    gae_lambda: float = 1.0
    critic_learning_rate: float = 1e-3
    advantage_scale: str = "group"
    aggregation: str = "sequence"
    ratio: str = "token"
    clip_low: float = 0.2
    clip_high: float = 0.2
    divergence: str = "none"
    divergence_coef: float = 0.04
    entropy_coef: float = 0.0
    lp_coef: float = 0.0
    lp_share: float = 0.01
    lp_least: float = 0.02
    teacher_coef: float = 0.0
    teacher_coef_end: float | None = None
    teacher_on: str = "all"
    teacher_steps: int = 2000
    teacher_noise: float = 0.0
    temperature: float = 1.0
    temperature_end: float | None = None
    temperature_decay: float = 10.0
    dynamic_sampling: bool = False
    resamplings: int = 3
    overlong: str = "none"
    overlong_buffer: int = 8
    group_filter: str = "none"
    filter_keep: float = 0.5
    flaw_penalty: float = 0.0
    sft_steps: int = 1000
    sft_batch: int = 64
    sft_learning_rate: float = 4e-3
    sft_noise: float = 0.12
    sft_seed: int = 0

    @property
    def per_step(self) -> int:
        """Completions of a step, if none are drawn again."""
        return self.prompts * self.rollouts

    @property
    def inspects(self) -> bool:
        """Whether it matters what leads to an answer."""
        return self.flaw_penalty > 0 or self.group_filter == "on_correct"

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher_coef > 0 or bool(self.teacher_coef_end)

    @property
    def kept(self) -> int:
        """Completions of a group that are learned from."""
        return self.rollouts if self.group_filter == "none" else max(1, round(self.rollouts * self.filter_keep))


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
    "ppo": {"advantage_baseline": "critic", "advantage_scale": "batch", "aggregation": "token"},
    "oreal": {
        "loss": "oreal",
        "advantage_baseline": "leave_one_out",
        "advantage_scale": "none",
        "aggregation": "token",
        "divergence": "reverse_kl",
        "divergence_coef": 0.01,
    },
    "pacs": {"loss": "pacs"},
    "rover": {"loss": "rover", "advantage_scale": "none", "aggregation": "token"},
    "lp_reg": {"lp_coef": 1.0, "aggregation": "token"},
    "kdrl": {"teacher_coef": 5e-3, "teacher_coef_end": 1e-3, "teacher_on": "wrong", "aggregation": "token"},
    "grpo_roc": {"group_filter": "on_correct", "clip_high": 0.28, "aggregation": "token"},
    "fapo": {"flaw_penalty": 0.5, "clip_high": 0.28, "aggregation": "token"},
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
    if value is None and key in ("temperature_end", "teacher_coef_end"):
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
    if own.advantage_baseline == "critic" and own.advantage_scale == "group":
        yield "advantages of a critic belong to tokens: advantage_scale is batch or none"
    if own.advantage_baseline == "critic" and own.loss in ("imitation", "oreal", "pacs", "rover"):
        yield f"loss {own.loss} has no use for a critic"
    if own.loss == "pacs" and (own.group_filter != "none" or own.overlong == "mask"):
        yield "loss pacs compares all completions of a group: group_filter is none, overlong none or penalty"
    if own.loss == "pacs" and own.minibatches > own.prompts:
        yield f"loss pacs keeps groups together: {own.minibatches} minibatches are more than {own.prompts} prompts"
    if own.loss in ("pacs", "rover") and own.rollouts == 1:
        yield f"loss {own.loss} needs at least 2 rollouts"
    if own.group_filter != "none" and own.kept < 2:
        yield f"group_filter {own.group_filter} leaves {own.kept} of {own.rollouts} rollouts; at least 2 are needed"
    if own.minibatches > own.per_step:
        yield f"{own.minibatches} minibatches are more than the {own.per_step} completions of a step"
