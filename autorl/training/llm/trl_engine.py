"""The engine `trl`: TRL's GRPOTrainer on a Hugging Face model, from a folder or by name.

The trainer writes completions, scores them and has the loss; steps are taken here one by one, so that a run is
measured, saved and resumed like those of engine `small`. The recipe's advantages take the place of the trainer's own.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autorl.errors import AutorlError
from autorl.training.llm import objective, selection
from autorl.training.llm.learner import SAMPLES, Counted, described, finite, measured, reward
from autorl.training.llm.problems import Problem, Task, draw_to_train, generator
from autorl.training.llm.recipe import Settings
from autorl.training.llm.trl_options import options

os.environ.setdefault("WANDB_DISABLED", "true")
try:
    from datasets import Dataset  # type: ignore[import-untyped]
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer  # type: ignore[attr-defined]
except ImportError as _error:
    raise AutorlError("engine trl needs TRL; run: pip install 'autorl[trl]'") from _error

_ROWS = 64
"""Prompts that are completed at a time in an evaluation."""
_TARGETS = "all-linear"


class _Trainer(GRPOTrainer):
    """TRL's trainer with the recipe's advantages."""

    def __init__(self, own: Settings, **rest: Any) -> None:
        self.own = own
        self.rewards = torch.zeros(0)
        super().__init__(**rest)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = super()._generate_and_score_completions(inputs)
        rewards = self.rewards.view(-1, self.own.rollouts)
        if self.own.overlong == "penalty":
            lengths = found["completion_mask"].sum(1).cpu()
            rewards = rewards + selection.overlong_penalty(lengths, self.own).view_as(rewards)
        gains = objective.advantages(rewards, self.own).reshape(-1)
        found["advantages"] = gains.to(found["advantages"])
        return found


class TrlLearner:
    """A Hugging Face model in training; see `Learner`.

    Args:
        task: what is to be learned; a prompt ends where the completion begins.
        policy: `model`, its folder or name, and `lora_rank`, 0 to train all of it.
        own: the recipe, of which TRL lacks nothing.
        total: completions of a full run.
        seeds: of what is drawn in training, and of the training problems.
    """

    def __init__(
        self, task: Task, policy: Mapping[str, Any], own: Settings, total: int, seeds: tuple[int, int]
    ) -> None:
        self._task, self._own, self._rng, self.counted = task, own, generator(seeds[1]), Counted()
        torch.manual_seed(seeds[0])
        self._tokenizer = AutoTokenizer.from_pretrained(policy["model"], padding_side="left")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        # The trainer wants a folder, in which it will have nothing to write.
        with tempfile.TemporaryDirectory() as folder:
            self._trainer: Any = self._made(policy, folder, total, seeds[0])
        self._trainer.create_optimizer_and_scheduler(num_training_steps=self._trainer.args.max_steps)
        self._trainer.current_gradient_accumulation_steps = 1  # what its own loop would set
        self._model: Any = self._trainer.model
        # Not a copy of the trainer's, whose `forward` would still be that of the model in training.
        start: Any = AutoModelForCausalLM
        self._start = start.from_pretrained(policy["model"], dtype=self._model.dtype).to(self._model.device).eval()

    def _made(self, policy: Mapping[str, Any], folder: str, total: int, seed: int) -> Any:
        there, own = torch.cuda.is_available(), self._own
        arguments = GRPOConfig(
            output_dir=folder,
            seed=seed,
            use_cpu=not there,
            bf16=there,
            activation_checkpointing=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            **options(own, total),
        )
        return _Trainer(
            own,
            model=policy["model"],
            reward_funcs=self._verified,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": ""}]),  # rows are given with each step
            processing_class=self._tokenizer,
            peft_config=_lora(int(policy.get("lora_rank", 0))),
        )

    def step(self) -> None:
        """Write completions, score them, and learn from them; see `Learner.step`."""
        own, trainer = self._own, self._trainer
        problems = [
            draw_to_train(self._task, self._rng.choice(self._task.categories), self._rng) for _ in range(own.prompts)
        ]
        rows = [{"prompt": each.prompt, "problem": each} for each in problems for _ in range(own.rollouts)]
        trainer._buffered_inputs = None
        self._model.train()
        for _ in range(own.epochs * own.minibatches):
            loss = trainer.training_step(self._model, rows, None)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss.item()}")
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), own.max_grad_norm)
            trainer.optimizer.step()
            trainer.lr_scheduler.step()
            trainer.optimizer.zero_grad()
            trainer.state.global_step += 1
        written = sum(int(batch["completion_mask"].sum()) for batch in trainer._buffered_inputs or ())
        self.counted.written(trainer.rewards.view(own.prompts, own.rollouts), written)
        self.counted.steps += 1

    def _verified(
        self, completions: Sequence[str], completion_ids: Sequence[Sequence[int]], problem: Sequence[Problem], **_: Any
    ) -> list[float]:
        end = self._tokenizer.eos_token_id
        found = [
            reward(self._task, each, text, ended=end in tokens)
            for each, text, tokens in zip(problem, completions, completion_ids, strict=True)
        ]
        self._trainer.rewards = torch.tensor(found)
        return found

    @torch.no_grad()
    def evaluate(self, problems: Sequence[Problem], seed: int) -> dict[str, float]:
        """Return the metrics; see `Learner.evaluate`."""
        self._model.eval()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            best: list[float] = []
            rewards: list[float] = []
            told: list[tuple[int, dict[str, float]]] = []
            for at in range(0, len(problems), _ROWS):
                part = problems[at : at + _ROWS]
                best += self._completed(part, 1)[0]
                scores, described_ = self._completed(part, SAMPLES)
                rewards += scores
                told.append((len(part), described_))
        table = torch.tensor(rewards).view(len(problems), SAMPLES)
        metrics = measured(self._task, problems, table, best, self.counted, self._model)
        return metrics | {name: sum(count * part[name] for count, part in told) / len(problems) for name in told[0][1]}

    def _completed(self, problems: Sequence[Problem], copies: int) -> tuple[list[float], dict[str, float]]:
        """Return rewards, and what the completions are like; one copy is the most probable completion."""
        given = self._tokenizer([p.prompt for p in problems], return_tensors="pt", padding=True).to(self._model.device)
        draws: dict[str, Any] = {"do_sample": False}
        if copies > 1:
            draws = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": copies}
        end, pad = self._tokenizer.eos_token_id, self._tokenizer.pad_token_id
        out = self._model.generate(
            **given, **draws, max_new_tokens=self._own.max_tokens, pad_token_id=pad, eos_token_id=end
        )
        tokens = out[:, given["input_ids"].shape[1] :]
        finished = (tokens == end).int().cumsum(1)
        real = (finished == 0) | ((finished == 1) & (tokens == end))
        ended = finished[:, -1] > 0
        texts = self._tokenizer.batch_decode(
            [row[keep] for row, keep in zip(tokens, real, strict=True)], skip_special_tokens=True
        )
        scores = [
            reward(self._task, problems[row // copies], text, ended=bool(over))
            for row, (text, over) in enumerate(zip(texts, ended, strict=True))
        ]
        if copies == 1:
            return scores, {}
        mask = torch.cat([given["attention_mask"].repeat_interleave(copies, 0), real.long()], 1)
        log_p, log_q = (self._log_probs(model, out, mask, tokens.shape[1]) for model in (self._model, self._start))
        return scores, described(log_p, log_q, real, ended)

    @staticmethod
    def _log_probs(model: Any, ids: Tensor, mask: Tensor, length: int) -> Tensor:
        logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=length + 1).logits[:, :-1]
        found: Tensor = logits.float().log_softmax(-1)
        return found

    def broken(self) -> bool:
        """Say whether a parameter is not finite."""
        return not finite(self._model)

    def state(self) -> dict[str, Any]:
        """Return everything that training goes on from, as tensors and plain data."""
        return {
            "model": {k: v.cpu() for k, v in self._model.state_dict().items()},
            "optimizer": self._trainer.optimizer.state_dict(),
            "schedule": json.dumps({"steps": self._trainer.state.global_step, "of_trainer": self._trainer._step}),
            "generator": torch.get_rng_state(),
            "rng": json.dumps(self._rng.getstate()),
            "counted": dict(vars(self.counted)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._model.load_state_dict(state["model"])
        trainer, schedule = self._trainer, json.loads(state["schedule"])
        own = trainer.optimizer.state_dict()["param_groups"]
        trainer.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": own})
        trainer.state.global_step, trainer._step = schedule["steps"], schedule["of_trainer"]
        rates = trainer.lr_scheduler
        rates.last_epoch, rates._step_count = schedule["steps"], schedule["steps"] + 1
        for group, base, share in zip(trainer.optimizer.param_groups, rates.base_lrs, rates.lr_lambdas, strict=True):
            group["lr"] = base * share(schedule["steps"])
        torch.set_rng_state(state["generator"])
        version, internal, gauss = json.loads(state["rng"])
        self._rng.setstate((version, tuple(internal), gauss))
        self.counted = Counted(**state["counted"])


def _lora(rank: int) -> Any:
    if not rank:
        return None
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise AutorlError("policy.lora_rank needs peft; run: pip install 'autorl[trl]'") from error
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=_TARGETS, task_type="CAUSAL_LM")
