"""A trial as a Python script of TRL's GRPOTrainer, on the study's task."""

from __future__ import annotations

from typing import Any

from autorl.ledger.records import TrialRecord
from autorl.report.export import header
from autorl.report.export.trl import arguments
from autorl.report.findings import Findings
from autorl.training.llm.recipe import settings

_SCRIPT = '''\
"""{header}

Train: python THIS_FILE{model_flag} --output DIR [--seed 0]
"""

import argparse
import random

import torch
from datasets import Dataset
{imports}from trl import GRPOConfig, GRPOTrainer

from autorl.training.llm.problems import draw_to_train
from autorl.training.llm.suites import make_task

TASK = make_task({env!r}, {env_kwargs!r})
COUNT = {count}  # problems of a full run
RECIPE = {recipe}


def main() -> None:
    """Train a model on the task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", {model}, help="its folder, or its name on the Hugging Face hub")
    parser.add_argument("--output", required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    own = parser.parse_args()

    # Problems on which the study evaluated are not among those that are drawn to train on.
    rng = random.Random(own.seed)
    problems = [draw_to_train(TASK, rng.choice(TASK.categories), rng) for _ in range(COUNT)]

    def reward(completions, completion_ids, number, **_):
        # A completion that has not come to its end is wrong, as it was in the study.
        end, rows = trainer.processing_class.eos_token_id, zip(completions, completion_ids, number, strict=True)
        return [float(TASK.reward(problems[n], text)) if end in tokens else 0.0 for text, tokens, n in rows]

    gpu = torch.cuda.is_available()
    trainer = GRPOTrainer(
        model=own.model,
        reward_funcs=reward,
        args=GRPOConfig(output_dir=own.output, seed=own.seed, use_cpu=not gpu, bf16=gpu, report_to=[], **RECIPE),
        train_dataset=Dataset.from_list([{{"prompt": p.prompt, "number": n}} for n, p in enumerate(problems)]),{peft}
    )
    trainer.train()
    trainer.save_model(own.output)


if __name__ == "__main__":
    main()
'''


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the script.

    Raises:
        ExportError: the trial is a schedule, or its recipe has parts for which TRL has no word.
    """
    recipe = trial.recipe
    own, options = settings(recipe.algorithm, recipe.hyperparameters), arguments(findings, trial, "trl-script")
    rank, model = recipe.policy.get("lora_rank"), recipe.policy.get("model")
    lora = f'LoraConfig(r={rank}, lora_alpha={2 * (rank or 0)}, target_modules="all-linear", task_type="CAUSAL_LM")'
    return _SCRIPT.format(
        header="\n".join(header(findings, trial)),
        model_flag="" if model else " --model MODEL",
        imports="from peft import LoraConfig\n" if rank else "",
        env=recipe.env,
        env_kwargs=dict(recipe.env_kwargs),
        count=-(-recipe.env_steps // own.per_step) * own.prompts,
        recipe=_literal(options),
        model=f"default={model!r}" if model else "required=True",
        peft=f"\n        peft_config={lora}," if rank else "",
    )


def _literal(options: dict[str, Any]) -> str:
    return "{\n" + "".join(f"    {key!r}: {value!r},\n" for key, value in options.items()) + "}"
