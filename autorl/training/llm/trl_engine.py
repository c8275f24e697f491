"""The engine `trl`: TRL's GRPOTrainer on a Hugging Face model, from a folder or by name.

The trainer writes completions, has them scored, and has the loss; steps are taken here one by one, so that a run is
measured, saved and resumed like those of engine `small`, and learning rates follow the completions written.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autorl.errors import AutorlError
from autorl.training.llm.learner import (
    SAMPLES,
    Counted,
    compared,
    described,
    finite,
    flaw,
    learning_rate,
    measured,
    reward,
)
from autorl.training.llm.problems import Problem, Task, draw_many_to_train, generator
from autorl.training.llm.recipe import Settings
from autorl.training.llm.sampling import Completions
from autorl.training.llm.trl_options import POLICY, missing, options, within_trls_loss
from autorl.training.llm.trl_trainer import RecipeTrainer, predictor, written
from autorl.training.llm.update import Predictor, Update

try:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar
    from trl import GRPOConfig
except ImportError as _error:
    raise AutorlError("engine trl needs TRL; run: pip install 'autorl[trl]'") from _error

# What they would write between the lines of a study's progress, for each run: bars for the loading of weights, what TRL
# uses of Transformers that will go, and what it advises against, which is what a study may compare.
disable_progress_bar()
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
logging.getLogger("trl").setLevel(logging.ERROR)

_ROWS = 64
"""Prompts that are completed at a time in an evaluation."""
_LOOKED_AT = 16
"""Completions whose tokens' probabilities are compared at a time."""
_TARGETS = "all-linear"


class TrlLearner:
    """A Hugging Face model in training; see `Learner`.

    Args:
        task: what is to be learned; a prompt ends where the completion begins.
        policy: `model`, its folder or name; `lora_rank`, 0 to train all of it; `teacher`, another model; `device` and
            `dtype`, of weights and of what is computed with them; and `vllm`, whether it writes.
        own: the recipe.
        total: completions of a full run.
        seeds: of what is drawn in training, and of the training problems.

    Raises:
        ValueError: the recipe has parts that cannot be trained here, or the policy asks for what is not there.
    """

    def __init__(
        self, task: Task, policy: Mapping[str, Any], own: Settings, total: int, seeds: tuple[int, int]
    ) -> None:
        policy = {**POLICY, **policy}
        for mistake in missing(own, policy):
            raise ValueError(mistake)
        if policy["device"] == "cuda" and not torch.cuda.is_available():
            raise ValueError("policy.device is cuda, and there is no GPU here; leave it out, or set it to cpu")
        self._task, self._own, self._rng, self.counted = task, own, generator(seeds[1]), Counted()
        self._total = total
        torch.manual_seed(seeds[0])
        self._tokenizer = AutoTokenizer.from_pretrained(policy["model"], padding_side="left")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        # The trainer wants a folder, in which it will have nothing to write.
        with tempfile.TemporaryDirectory() as folder:
            self._trainer: Any = self._made(policy, folder, seeds[0])
        self._trainer.create_optimizer()
        self._trainer.current_gradient_accumulation_steps = 1  # what its own loop would set
        self._model: Any = self._trainer.model
        # Not a copy of the trainer's, whose `forward` would still be that of the model in training.
        self._start = self._beside(policy["model"])
        if not within_trls_loss(own):
            teacher = self._taught_by(policy["teacher"]) if own.taught else None
            self._trainer.update = Update(predictor(self._model), predictor(self._start), teacher, own)

    def _made(self, policy: Mapping[str, Any], folder: str, seed: int) -> Any:
        on_gpu, dtype = torch.cuda.is_available() and policy["device"] != "cpu", policy["dtype"]
        arguments = GRPOConfig(
            output_dir=folder,
            seed=seed,
            use_cpu=not on_gpu,
            bf16=dtype == "bfloat16" or (dtype == "auto" and on_gpu),
            model_init_kwargs={"dtype": "float32" if dtype == "auto" else dtype},
            use_vllm=policy["vllm"],
            vllm_mode="colocate",
            activation_checkpointing=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            **options(self._own, self._total),
        )
        return RecipeTrainer(
            self._own,
            self._rows,
            model=policy["model"],
            reward_funcs=self._verified,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": ""}]),  # rows are given with each step
            processing_class=self._tokenizer,
            peft_config=_lora(int(policy["lora_rank"])),
        )

    def _beside(self, name: str) -> Any:
        """Return a model that is not trained, where the one in training is."""
        models: Any = AutoModelForCausalLM
        found = models.from_pretrained(name, dtype=self._model.dtype).to(self._model.device)
        return found.eval().requires_grad_(False)

    def _taught_by(self, name: str) -> Predictor:
        if AutoTokenizer.from_pretrained(name).get_vocab() != self._tokenizer.get_vocab():
            raise ValueError(f"policy.teacher: {name} has other tokens than the model; take one of the same family")
        teacher = self._beside(name)
        if teacher.config.vocab_size != self._model.config.vocab_size:
            raise ValueError(
                f"policy.teacher: {name} has logits of {teacher.config.vocab_size} tokens, and the model of "
                f"{self._model.config.vocab_size}; take one of the same vocabulary"
            )
        return predictor(teacher)

    def step(self) -> None:
        """Write completions, score them, and learn from them; see `Learner.step`."""
        own, trainer = self._own, self._trainer
        rows, before = self._rows(own.prompts), self.counted.completions
        trainer._buffered_inputs = None
        self._model.train()
        for _ in range(own.epochs * own.minibatches):
            loss = trainer.training_step(self._model, rows, None)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss.item()}")
            norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), own.max_grad_norm)
            if not torch.isfinite(norm):  # before a step makes weights of it, from which a GPU cannot draw tokens
                raise FloatingPointError(f"the gradient's norm is {norm.item()}")
            for group in trainer.optimizer.param_groups:
                group["lr"] = learning_rate(own, self.counted, before, self._total)
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()
            trainer.state.global_step += 1
        self.counted.steps += 1

    def _rows(self, count: int) -> list[dict[str, Any]]:
        """Draw problems, and return a row for each completion that is to be written."""
        problems = draw_many_to_train(self._task, count, self._rng)
        return [{"prompt": each.prompt, "problem": each} for each in problems for _ in range(self._own.rollouts)]

    def _verified(
        self, completions: Sequence[str], completion_ids: Sequence[Sequence[int]], problem: Sequence[Problem], **_: Any
    ) -> list[float]:
        """Score and count what was written."""
        own, ends = self._own, set(self._trainer.eos_token_ids)
        found = [
            reward(self._task, each, text, ended=not ends.isdisjoint(tokens))
            for each, text, tokens in zip(problem, completions, completion_ids, strict=True)
        ]
        pairs = zip(problem, completions, strict=True)
        flaws = [flaw(self._task, *pair) if own.inspects else 0.0 for pair in pairs]
        self._trainer.scores, self._trainer.flaws = torch.tensor(found), torch.tensor(flaws)
        self.counted.written(self._trainer.scores.view(-1, own.rollouts), sum(map(len, completion_ids)))
        self._trainer.progress = self.counted.completions / self._total
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
        ends, pad = self._trainer.eos_token_ids, self._tokenizer.pad_token_id
        out = written(self._model, given, self._own.max_tokens, ends, pad, **draws)
        texts = self._tokenizer.batch_decode(
            [row[keep] for row, keep in zip(out.tokens, out.real, strict=True)], skip_special_tokens=True
        )
        scores = [
            reward(self._task, problems[row // copies], text, ended=bool(over))
            for row, (text, over) in enumerate(zip(texts, out.ended, strict=True))
        ]
        if copies == 1:
            return scores, {}
        return scores, described(*self._compared(out), out.real, out.ended)

    def _compared(self, out: Completions) -> tuple[Tensor, Tensor]:
        """Compare the model with the start, a few completions at a time: of each token it takes a whole vocabulary."""
        ids, real = torch.cat([out.prompts, out.tokens], 1), torch.cat([out.prompt_real, out.real], 1)
        length, found = out.tokens.shape[1], []
        for some, which in zip(torch.split(ids, _LOOKED_AT), torch.split(real, _LOOKED_AT), strict=True):
            models = self._model, self._start
            found.append(compared(*(predictor(model)(some, which, length).log_softmax(-1) for model in models)))
        entropies, divergences = zip(*found, strict=True)
        return torch.cat(entropies), torch.cat(divergences)

    def record(self) -> None:
        """Return None: there is no curriculum; see `Learner.record`."""

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
            "generators_of_gpus": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
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
        torch.set_rng_state(state["generator"])
        if len(state["generators_of_gpus"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["generators_of_gpus"])
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
