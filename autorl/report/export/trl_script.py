"""A trial as a Python script of TRL's GRPOTrainer, on the study's task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header
from autorl.report.export.trl import arguments
from autorl.report.findings import Findings
from autorl.spec.curriculum import OF_LANGUAGE
from autorl.training.llm.course import target_categories
from autorl.training.llm.recipe import settings
from autorl.training.llm.suites import make_task
from autorl.trial import Recipe

_SCRIPT = '''\
"""{header}

Train: python THIS_FILE{model_flag} --output DIR [--seed 0]
"""

import argparse
import random

import torch
from datasets import Dataset
{imports}from trl import GRPOConfig, GRPOTrainer

{own_imports}from autorl.training.llm.suites import make_task
from autorl.training.tasks import random_streams

TASK = make_task({env!r}, {env_kwargs!r})
COUNT = {count}  # problems of a full run
RECIPE = {recipe}
{course}

def score(trainer, problems):
    """Return the mean reward of the most probable completions; one that does not come to its end is wrong."""
    tokenizer, model, rewards = trainer.processing_class, trainer.model.eval(), []
    for at in range(0, len(problems), 32):
        part = problems[at : at + 32]
        prompts = [problem.prompt for problem in part]
        given = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(model.device)
        with torch.no_grad():
            out = model.generate(
                **given,
                do_sample=False,
                max_new_tokens=RECIPE["max_completion_length"],
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        tokens = out[:, given["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        for problem, row, text in zip(part, tokens, texts, strict=True):
            rewards.append(float(TASK.reward(problem, text)) if tokenizer.eos_token_id in row else 0.0)
    return sum(rewards) / len(rewards)


def main() -> None:
    """Train a model on the task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", {model}, help="its folder, or its name on the Hugging Face hub")
    parser.add_argument("--output", required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    own = parser.parse_args()

    # Problems on which the study evaluated are not among those that are drawn to train on.
    rng = random.Random(own.seed)
{problems}
    gpu = torch.cuda.is_available()
    trainer = {trainer}(
        model=own.model,
        reward_funcs=reward,
        args=GRPOConfig(output_dir=own.output, seed=own.seed, use_cpu=not gpu, bf16=gpu, report_to=[], **RECIPE),
        train_dataset=Dataset.from_list({rows}),{peft}
    )
    trainer.train()
    trainer.save_model(own.output)
    # The problems that the study held out for this seed.
    drawn_by = generator(random_streams(own.seed, {points})[2][0])
    held_out = draw_to_evaluate(TASK, {episodes}, own.seed, drawn_by, {categories})
    print(f"greedy score of {{len(held_out)}} held-out problems: {{score(trainer, held_out):.4f}}")


if __name__ == "__main__":
    main()
'''
_DRAWN_BEFORE = """\
    problems = [draw_to_train(TASK, rng.choice(TASK.categories), rng) for _ in range(COUNT)]

    def reward(completions, completion_ids, number, **_):
        # A completion that has not come to its end is wrong, as it was in the study.
        end, rows = trainer.processing_class.eos_token_id, zip(completions, completion_ids, number, strict=True)
        return [float(TASK.reward(problems[n], text)) if end in tokens else 0.0 for text, tokens, n in rows]
"""
_COURSE = """\
TASK_SPACE = {task_space!r}
CURRICULUM = {curriculum!r}


class Taught(GRPOTrainer):
    \"\"\"Trains on the problems that a teacher chooses, and tells it what came of them.\"\"\"

    completions = 0

    def _generate_and_score_completions(self, inputs):
        course, rollouts = self.course, RECIPE["num_generations"]
        course.at(self.completions)
        drawn = [course.draw(self.rng) for _ in range(len(inputs) // rollouts)]
        found = super()._generate_and_score_completions(
            [{{"prompt": problem.prompt, "problem": problem}} for _, problem in drawn for _ in range(rollouts)]
        )
        self.completions += len(inputs)
        scores, gains = torch.tensor(self.scores).view(-1, rollouts), found["advantages"].abs().view(-1, rollouts)
        of_groups = (part.mean(1).tolist() for part in (scores, (scores >= 1).float(), gains))
        outcomes = [Outcome(value, right, rollouts, gain) for value, right, gain in zip(*of_groups, strict=True)]
        course.tell([(chosen, outcome) for (chosen, _), outcome in zip(drawn, outcomes, strict=True)])
        return found

"""
_DRAWN_ALONG = """\

    def reward(completions, completion_ids, problem, **_):
        # A completion that has not come to its end is wrong, as it was in the study.
        end, rows = trainer.processing_class.eos_token_id, zip(completions, completion_ids, problem, strict=True)
        trainer.scores = [float(TASK.reward(p, text)) if end in tokens else 0.0 for text, tokens, p in rows]
        return trainer.scores

    Taught.course, Taught.rng = Course(TASK_SPACE, CURRICULUM, {completions}, TASK, own.seed), rng
"""
_OF_PROBLEMS = "from autorl.training.llm.problems import draw_to_evaluate, draw_to_train, generator\n"
_OF_COURSE = """\
from autorl.training.curriculum.teacher import Outcome
from autorl.training.llm.course import Course
from autorl.training.llm.problems import draw_to_evaluate, generator
"""


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the script.

    Raises:
        ExportError: the trial is a schedule, or its recipe or its curriculum has parts for which TRL has no word.
    """
    recipe = trial.recipe
    own, options = settings(recipe.algorithm, recipe.hyperparameters), arguments(findings, trial, "trl-script")
    rank, model = recipe.policy.get("lora_rank"), recipe.policy.get("model")
    lora = f'LoraConfig(r={rank}, lora_alpha={2 * (rank or 0)}, target_modules="all-linear", task_type="CAUSAL_LM")'
    course, problems, rows = "", _DRAWN_BEFORE, '[{"prompt": p.prompt, "number": n} for n, p in enumerate(problems)]'
    taught = recipe.task_space is not None and recipe.curriculum is not None
    if taught:
        assert recipe.curriculum is not None
        kind = recipe.curriculum["kind"]
        if kind in OF_LANGUAGE:
            raise ExportError(
                f"trial {trial.number} cannot be written for TRL: curriculum {kind} asks problems in ways that TRL has "
                "not; as data: --format schedule"
            )
        course = _COURSE.format(task_space=dict(recipe.task_space or {}), curriculum=dict(recipe.curriculum))
        # Rows of the data set count the steps only: problems are drawn when they are asked.
        problems, rows = _DRAWN_ALONG.format(completions=recipe.env_steps), '[{"prompt": ""}] * COUNT'
    return _SCRIPT.format(
        header="\n".join(header(findings, trial)),
        model_flag="" if model else " --model MODEL",
        imports="from peft import LoraConfig\n" if rank else "",
        own_imports=_OF_COURSE if taught else _OF_PROBLEMS,
        env=recipe.env,
        env_kwargs=dict(recipe.env_kwargs),
        points=recipe.evaluation_points,
        episodes=recipe.evaluation_episodes,
        categories=_target(recipe),
        count=-(-recipe.env_steps // own.per_step) * own.prompts,
        recipe=_literal(options),
        course=course,
        model=f"default={model!r}" if model else "required=True",
        problems=problems,
        trainer="Taught" if taught else "GRPOTrainer",
        rows=rows,
        peft=f"\n        peft_config={lora}," if rank else "",
    )


def _target(recipe: Recipe) -> Sequence[str] | None:
    """Return the categories that evaluations are of; None for all of them, in a study whose problems do not vary."""
    return target_categories(recipe.task_space, make_task(recipe.env, recipe.env_kwargs)) if recipe.task_space else None


def _literal(options: dict[str, Any]) -> str:
    return "{\n" + "".join(f"    {key!r}: {value!r},\n" for key, value in options.items()) + "}"
