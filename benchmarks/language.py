"""What a step of RL for a small language model takes: autorl's engines beside TRL's own trainer.

    python benchmarks/language.py [--steps 20]

The same task (sorting, maxima), the same size of model (two layers of width 64), 32 prompts with 8 completions of at
most 28 tokens, two gradient steps; models begin untrained, so that completions are as long for all. Each tool is a
process of its own on one core; the tools take turns. Time is that of the steps after the first two; memory is the peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

TOOLS = ("small", "trl", "TRL alone")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PROMPTS, ROLLOUTS, LONGEST, FIRST = 32, 8, 28, 2
RECIPE = {"prompts": PROMPTS, "rollouts": ROLLOUTS, "max_tokens": LONGEST, "aggregation": "token", "divergence": "none"}


def main() -> None:
    """Measure the tools in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="steps after the first two")
    parser.add_argument("--turns", type=int, default=3, help="how often each tool is measured")
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    own = parser.parse_args()
    if own.tool:
        print(json.dumps(_measure(own.tool, own.model, own.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _save_model(Path(folder))
        found: dict[str, list[dict[str, float]]] = {tool: [] for tool in TOOLS}
        for _ in range(own.turns):
            for tool in TOOLS:
                found[tool].append(_process(tool, folder, own.steps))
    print(f"{'tool':<12}{'s a step':>10}{'tokens/s':>12}{'tokens each':>13}{'peak MB':>10}")
    for tool, each in found.items():
        mean = {key: fmean(one[key] for one in each) for key in each[0]}
        seconds, tokens = mean["seconds"], mean["tokens"]
        rate, length = tokens / seconds, tokens / PROMPTS / ROLLOUTS
        print(f"{tool:<12}{seconds:>10.3f}{rate:>12,.0f}{length:>13.1f}{mean['megabytes']:>10.0f}")


def _process(tool: str, model: str, steps: int) -> dict[str, float]:
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    command: Sequence[str] = [sys.executable, __file__, "--tool", tool, "--model", model, "--steps", str(steps)]
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def _measure(tool: str, model: str, steps: int) -> dict[str, float]:
    """Return seconds and tokens of a step, and the peak of the process's memory."""
    import torch

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    seconds, tokens = _alone(model, steps) if tool == "TRL alone" else _ours(tool, model, steps)
    return {
        "seconds": seconds,
        "tokens": tokens,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _ours(engine: str, model: str, steps: int) -> tuple[float, float]:
    from autorl.training.llm.learner import Learner
    from autorl.training.llm.model import Architecture, Characters, Model
    from autorl.training.llm.recipe import settings
    from autorl.training.llm.small import SmallLearner
    from autorl.training.llm.suites import make_task

    task, own, total = make_task("steps", {}), settings("grpo", RECIPE), (FIRST + steps) * PROMPTS * ROLLOUTS
    learner: Learner
    if engine == "small":
        learner = SmallLearner(task, Model(Architecture(), Characters(task.characters).size), None, own, total, (0, 0))
    else:
        from autorl.training.llm.trl_engine import TrlLearner

        learner = TrlLearner(task, {"model": model}, own, total, (0, 0))
    for _ in range(FIRST):
        learner.step()
    started, before = time.perf_counter(), learner.counted.tokens
    for _ in range(steps):
        learner.step()
    return (time.perf_counter() - started) / steps, (learner.counted.tokens - before) / steps


def _alone(model: str, steps: int) -> tuple[float, float]:
    """Train with TRL's own loop, and a reward function that checks the same answers."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from autorl.training.llm.problems import draw_to_train, generator
    from autorl.training.llm.suites import make_task

    task, rng, updates = make_task("steps", {}), generator(0), 2
    problems = [draw_to_train(task, rng.choice(task.categories), rng) for _ in range(PROMPTS * (FIRST + steps))]
    tokens: list[int] = []

    def verified(completions: list[str], completion_ids: list[list[int]], number: list[int], **_: Any) -> list[float]:
        tokens.append(sum(map(len, completion_ids)))
        return [task.reward(problems[n], text) for n, text in zip(number, completions, strict=True)]

    class Clock(TrainerCallback):
        started = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == FIRST * updates:
                self.started = time.perf_counter()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            learning_rate=1e-4,
            per_device_train_batch_size=PROMPTS * ROLLOUTS // updates,
            steps_per_generation=updates,
            num_generations=ROLLOUTS,
            max_completion_length=LONGEST,
            max_steps=(FIRST + steps) * updates,
            loss_type="bnpo",
            beta=0.0,
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=verified,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": p.prompt, "number": n} for n, p in enumerate(problems)]),
            processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
            callbacks=[clock],
        )
        trainer.train()
    return (time.perf_counter() - clock.started) / steps, fmean(tokens[FIRST:])


def _save_model(folder: Path) -> None:
    """Write a Llama of the size of engine small's model, and a tokenizer of single characters."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from autorl.training.llm.suites import make_task

    characters = make_task("steps", {}).characters
    vocabulary = {"<pad>": 0, "<end>": 1, **{character: index + 2 for index, character in enumerate(characters)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=171,  # gated: as many parameters as 256 without a gate
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=96,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)


if __name__ == "__main__":
    main()
