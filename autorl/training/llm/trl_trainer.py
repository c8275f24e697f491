"""TRL's trainer with those parts of a recipe for which it has no option, in the methods that its subclasses override.

Advantages, penalties, filters and, where TRL's loss is not the recipe's, the loss are those of engine small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from autorl.errors import AutorlError
from autorl.training.llm import objective, selection
from autorl.training.llm.recipe import Settings
from autorl.training.llm.sampling import Completions, joined
from autorl.training.llm.update import Lesson, Predictor, Update

os.environ.setdefault("WANDB_DISABLED", "true")
try:
    from transformers import LogitsProcessor
    from trl import GRPOTrainer
except ImportError as _error:
    raise AutorlError("engine trl needs TRL; run: pip install 'autorl[trl]'") from _error


class Falling(LogitsProcessor):  # type: ignore[misc]
    """Divides logits by a temperature that depends on the position in a completion.

    Args:
        temperature: position → temperature.
        prompt: tokens before the completion, padding included.
    """

    def __init__(self, temperature: Callable[[int], float], prompt: int) -> None:
        self._temperature, self._prompt = temperature, prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits at this position's temperature, shape ``(rows, vocabulary)``."""
        return scores / self._temperature(input_ids.shape[1] - self._prompt)


def predictor(model: Any) -> Predictor:
    """Return a Hugging Face model as what `Update` is made of."""

    def logits(tokens: Tensor, real: Tensor, keep: int) -> Tensor:
        found: Tensor = model(input_ids=tokens, attention_mask=real.long(), logits_to_keep=keep + 1).logits
        return found[:, :-1].float()

    return logits


def written(
    model: Any, given: Mapping[str, Tensor], longest: int, ends: Sequence[int], pad: int, **draws: Any
) -> Completions:
    """Let a model complete prompts; without the probabilities with which it drew.

    Args:
        model: a Hugging Face model.
        given: tokens of the prompts, padded on the left, with their mask.
        longest: tokens of a completion, at most.
        ends: tokens that end a completion.
        pad: token that stands where there is nothing.
        draws: how tokens are drawn, as `generate` calls it.
    """
    out = model.generate(**given, **draws, max_new_tokens=longest, pad_token_id=pad, eos_token_id=list(ends))
    width = given["input_ids"].shape[1]
    tokens, copies = out[:, width:], len(out) // len(given["input_ids"])
    ending = torch.isin(tokens, torch.tensor(list(ends), device=tokens.device))
    finished = ending.int().cumsum(1)
    real = (finished == 0) | ((finished == 1) & ending)
    prompt_real = given["attention_mask"].bool().repeat_interleave(copies, 0)
    return Completions(out[:, :width], prompt_real, tokens, real, real, torch.zeros(len(out), 0), finished[:, -1] > 0)


class RecipeTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer with the whole recipe.

    Args:
        own: the recipe.
        draw: draws problems: how many → the rows of their completions.
        rest: arguments of GRPOTrainer.

    Attributes:
        update: the recipe's loss where TRL's is not; None leaves it to TRL.
        scores: the task's rewards of the completions written last, shape ``(rows,)``.
        flaws: of the same.
        progress: the share of a full run that is done.
    """

    def __init__(self, own: Settings, draw: Callable[[int], list[dict[str, Any]]], **rest: Any) -> None:
        self.own, self._draw = own, draw
        self.update: Update | None = None
        self.scores, self.flaws, self.progress = torch.zeros(0), torch.zeros(0), 0.0
        super().__init__(**rest)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        own, found = self.own, self._experience(inputs)
        for _ in range(own.resamplings if own.dynamic_sampling else 0):
            mixed = self._groups(found["rewards"]).std(1) > 0
            if mixed.all():
                break
            kept = mixed.repeat_interleave(own.rollouts)
            others = self._experience(self._draw(int((~mixed).sum())))
            found = joined({name: part[kept] for name, part in found.items()}, others)
        rewards, right, flaws = (self._groups(found[name]).cpu() for name in ("rewards", "right", "flaws"))
        kept, gains = selection.credited(rewards, right, flaws, own, torch.default_generator)
        found["advantages"] = gains.reshape(-1).to(found["advantages"])
        learned = kept.reshape(-1).to(self.accelerator.device)
        found = {name: part[learned] for name, part in found.items()}
        return {**found, "num_items_in_batch": found["completion_mask"].sum()}

    def _groups(self, of_rows: Tensor) -> Tensor:
        return of_rows.view(-1, self.own.rollouts)

    def _experience(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return what TRL makes of rows, and of each its reward, whether it is right, and its flaws."""
        found: dict[str, Any] = super()._generate_and_score_completions(inputs)
        del found["num_items_in_batch"]  # of all that are learned from in the end
        lengths = found["completion_mask"].sum(1).cpu()
        rewards = selection.penalized(self.scores, self.flaws, lengths, self.own)
        more = {"rewards": rewards, "right": self.scores >= 1.0, "flaws": self.flaws}
        return found | {name: part.to(self.accelerator.device) for name, part in more.items()}

    def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **images: Any) -> Any:
        own = self.own
        if own.temperature_end is None:
            return super()._generate_single_turn(prompt_ids, *rest, **images)
        given = self._tokenizer.pad({"input_ids": prompt_ids}, padding_side="left", return_tensors="pt")
        falling = Falling(objective.temperature(own), given["input_ids"].shape[1])
        draws = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "logits_processor": [falling]}
        here, pad = given.to(self.accelerator.device), self._tokenizer.pad_token_id
        found = written(self.model, here, own.max_tokens, self.eos_token_ids, pad, **draws)
        return [row[real].tolist() for row, real in zip(found.tokens, found.real, strict=True)], None

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *rest: Any, **more: Any
    ) -> Any:
        """Return what TRL compares its loss with; the recipe's own loss has temperatures that TRL does not know."""
        if self.update is None:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *rest, **more
            )
        size = more["batch_size"]
        parts = zip(torch.split(input_ids, size), torch.split(attention_mask.bool(), size), strict=True)
        return torch.cat([self._drawn(_completions(ids, real, logits_to_keep)) for ids, real in parts]), None, None

    @torch.no_grad()
    def _drawn(self, found: Completions) -> Tensor:
        """Return the logarithms of the probabilities with which tokens were drawn, shape ``(rows, length)``."""
        assert self.update is not None
        with self.accelerator.autocast():
            log_p = self.update.log_probs(self.update.model, found)
        return log_p.gather(2, found.tokens[..., None])[..., 0]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if self.update is None:
            loss: Tensor = super()._compute_loss(model, inputs)
            return loss
        ids, real = (torch.cat([inputs[f"prompt_{part}"], inputs[f"completion_{part}"]], 1) for part in ("ids", "mask"))
        found = _completions(ids, real.bool(), inputs["completion_ids"].shape[1])
        # With a single gradient step TRL does not ask for them: they are those of the model as it is.
        old = inputs.get("old_per_token_logps")
        found = replace(found, log_probs=self._drawn(found) if old is None else old)
        right, nothing = inputs["right"].to(ids.device), found.log_probs[:, :0]
        lesson = Lesson(found, inputs["advantages"][:, None], inputs["rewards"], right, nothing, nothing)
        learned = found.real.any(1)  # others were cut off, and are left out
        with self.accelerator.autocast():
            if not learned.any():
                return self.update.log_probs(self.update.model, found).sum() * 0.0
            rows, tokens = float(learned.sum()), float(found.real.sum())
            return self.update.loss(lesson.only(learned), rows=rows, tokens=tokens, progress=self.progress)


def _completions(ids: Tensor, real: Tensor, length: int) -> Completions:
    """Return prompts with completions of some length as engine small knows them; a loss asks not whether they ended."""
    prompts, tokens, real_prompts, own = ids[:, :-length], ids[:, -length:], real[:, :-length], real[:, -length:]
    return Completions(prompts, real_prompts, tokens, own, own, torch.zeros(len(ids), 0), torch.zeros(len(ids), 0))
