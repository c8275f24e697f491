"""The model of a run, as Stable-Baselines3 saves it, with a model card as the Hugging Face hub expects it.

No run keeps its model, and none needs to: the run is trained again from its recipe and seed, and the model is written
only if its learning curve is the one in the ledger to the last digit.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from autorl.errors import ExportError
from autorl.ledger.environment import versions
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord, TrialRecord
from autorl.report.export import header
from autorl.report.export.configuration import as_yaml
from autorl.report.export.played import played
from autorl.report.findings import Findings
from autorl.report.words import number
from autorl.training.protocol import Job
from autorl.trial import Point, Recipe

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

MODEL, NORMALIZATION, TRAJECTORIES = "model.zip", "vecnormalize.pkl", "trajectories.npz"

_CARD = """\
---
{metadata}---

# {title}

{origin}

This is the model of one run, seed {seed} ({phase}), chosen because {why}: its own last evaluation has a mean return
of {value} over {episodes} episodes. What the configuration is worth over seeds stands above; another seed trains
another model.

## Load and evaluate

```python
{usage}```
{remark}
## Training

{trajectories}`configuration.yaml` has every hyperparameter.
On the same kind of processor, with the versions above, the script that `autorl export {study} --trial {trial}
--format sb3` writes trains this very model with `--seed {seed}`.
"""

_OF_TRAJECTORIES = """\
`trajectories.npz` holds episodes that the model played well afterwards, by the seeds of their resets and their actions:
a study may begin episodes in their states (`through: trajectory`).

"""


class _Quiet:
    """Hosts a run of which only the model matters, and tells how far it is."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell

    def evaluated(self, point: Point) -> None:
        self._tell(point.env_steps)

    def alive(self, env_steps: int) -> None:
        self._tell(env_steps)

    def save(self, env_steps: int, content: memoryview) -> None:
        del env_steps, content

    def stopping(self) -> bool:
        return False


def write(
    findings: Findings,
    trial: TrialRecord,
    reader: Reader,
    folder: Path,
    seed: int | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> RunRecord:
    """Train a run again and write its model, normalization, configuration and card into a new folder.

    Args:
        findings: the study.
        trial: the trial.
        reader: the study's ledger.
        folder: what is made; whole, or not at all.
        seed: of a completed run of the trial; by default its first test seed, whatever its score.
        tell: called with the environment steps trained so far.

    Returns:
        The run.

    Raises:
        ExportError: the trial is not of backend `sb3` or has no such run, the folder exists, or what is trained is not
            what the study saw, because of other versions or another kind of processor.
    """
    if trial.recipe.backend != "sb3":
        raise ExportError(
            f"a model is that of a run of backend sb3, which can be trained again to the last digit; trial "
            f"{trial.number} is of backend '{trial.recipe.backend}'"
        )
    run = _run(findings, trial, seed)
    if folder.exists():
        raise ExportError(f"'{folder}' exists; write another folder with --out")
    model = _trained(findings, trial, run, reader, tell)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=_parent(folder)))
    try:
        _fill(temporary, findings, trial, run, model, reader)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise ExportError(f"'{folder}' cannot be written: {error.strerror}") from None
        raise
    return run


def _parent(folder: Path) -> Path:
    if not os.access(folder.parent, os.W_OK):
        raise ExportError(f"'{folder}' cannot be written: '{folder.parent}' is no folder that can be written to")
    return folder.parent


def _run(findings: Findings, trial: TrialRecord, seed: int | None) -> RunRecord:
    runs = [run for run in findings.runs.get(trial.number, ()) if run.state == "completed"]
    runs = [run for run in runs if run.env_steps >= trial.recipe.env_steps]
    chosen = [run for run in runs if (run.phase == "test" if seed is None else run.seed == seed)]
    if not chosen:
        seeds = ", ".join(str(run.seed) for run in runs) or "none"
        asked = "test run" if seed is None else f"run with seed {seed}"
        raise ExportError(
            f"trial {trial.number} has no completed {asked} (seeds trained in full: {seeds}); name one with --seed, or "
            f"train its test seeds: autorl test {findings.study.name} --trial {trial.number}"
        )
    return chosen[0]


def _recorded(findings: Findings, run: RunRecord, reader: Reader) -> list[tuple[int, dict[str, float]]]:
    curves = reader.curves(findings.study.name, [run.trial], run.phase)
    (curve,) = (curve for curve in curves if curve.run == run.run)
    return [(point.env_steps, dict(point.metrics)) for point in curve.points]


def _trained(
    findings: Findings, trial: TrialRecord, run: RunRecord, reader: Reader, tell: Callable[[int], None]
) -> BaseAlgorithm:
    import torch

    from autorl.training.sb3.run import Training

    torch.set_num_threads(1)
    training = Training(Job(trial.recipe, run.seed, trial.recipe.env_steps, None, math.inf), _Quiet(tell))
    result = training.result()
    if result.status == "failed" or training.model is None:
        raise ExportError(f"trial {trial.number} fails with seed {run.seed} when it is trained again:\n{result.error}")
    again = [(point.env_steps, dict(point.metrics)) for point in result.curve]
    before = _recorded(findings, run, reader)
    if again != before:
        then, here = findings.study.versions, versions()
        differing = [
            f"{name} {version} then, {here.get(name, '–')} here"
            for name, version in then.items()
            if version != here.get(name)
        ]
        raise ExportError(
            f"trained again, seed {run.seed} of trial {trial.number} ends with a return of "
            f"{number(again[-1][1]['return'])}, in the study with {number(before[-1][1]['return'])}; this model is not "
            f"the one that was measured, and nothing was written. "
            + (f"Versions differ: {'; '.join(differing)}" if differing else "Is this another kind of processor?")
        )
    return training.model


def _fill(
    folder: Path, findings: Findings, trial: TrialRecord, run: RunRecord, model: BaseAlgorithm, reader: Reader
) -> None:
    from stable_baselines3.common.vec_env import VecNormalize

    model.save(folder / MODEL)
    env = model.get_env()
    if isinstance(env, VecNormalize):
        env.save(str(folder / NORMALIZATION))
    if trial.recipe.task_space is None:
        np.savez_compressed(folder / TRAJECTORIES, allow_pickle=False, **played(model, trial.recipe, run.seed))
    (folder / "configuration.yaml").write_text(as_yaml(findings, trial), encoding="utf-8")
    last = _recorded(findings, run, reader)[-1][1]
    card = _card(findings, trial, run, last, isinstance(env, VecNormalize))
    (folder / "README.md").write_text(card, encoding="utf-8")


def _card(findings: Findings, trial: TrialRecord, run: RunRecord, last: dict[str, float], normalized: bool) -> str:
    recipe = trial.recipe
    env = recipe.env.rpartition(":")[2]
    result = {
        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
        "dataset": {"name": env, "type": env},
        "metrics": [
            {
                "type": "mean_reward",
                "name": "mean_reward",
                "value": f"{last['return']:.2f} +/- {last['return_std']:.2f}",
                "verified": False,
            }
        ],
    }
    metadata = {
        "library_name": "stable-baselines3",
        "pipeline_tag": "reinforcement-learning",
        "tags": [env, recipe.algorithm, "deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3"],
        "model-index": [{"name": recipe.algorithm, "results": [result]}],
    }
    varies = recipe.task_space is not None
    return _CARD.format(
        metadata=yaml.safe_dump(metadata, sort_keys=False),
        title=f"{recipe.algorithm} on {env}",
        origin="\n".join(f"- {line}" for line in header(findings, trial)),
        seed=run.seed,
        phase=f"{run.phase} seeds",
        why="it is the first" if run.phase == "test" else "it was asked for",
        value=number(last["return"]),
        episodes=recipe.evaluation_episodes,
        usage=usage(recipe, run.seed, normalized),
        remark="\nIn the study the task varied; this evaluates it as it is made.\n" if varies else "",
        trajectories="" if varies else _OF_TRAJECTORIES,
        study=findings.study.name,
        trial=trial.number,
    )


def usage(recipe: Recipe, seed: int, normalized: bool) -> str:
    """Return the code that loads a model and plays the episodes of the study's last evaluation."""
    from autorl.training.sb3.algorithms import ALGORITHMS
    from autorl.training.tasks import random_streams

    module, name = ALGORITHMS[recipe.algorithm]
    episodes = random_streams(seed, recipe.evaluation_points)[2][-1]
    stack = recipe.hyperparameters.get("frame_stack")
    wrappers, imports = [], []
    for wrapper in recipe.wrappers:
        path, arguments = (wrapper, {}) if isinstance(wrapper, str) else next(iter(wrapper.items()))
        of, _, kind = path.partition(":")
        imports.append(f"from {of} import {kind}")
        wrappers.append(f"    env = {kind}(env, **{dict(arguments)!r})")
    vectorized = ["DummyVecEnv", *(["VecFrameStack"] if stack else []), *(["VecNormalize"] if normalized else [])]
    lines: list[str] = [
        "import gymnasium as gym",
        f"from {module} import {name}",
        "from stable_baselines3.common.evaluation import evaluate_policy",
        "from stable_baselines3.common.monitor import Monitor",
        "from stable_baselines3.common.utils import set_random_seed",
        f"from stable_baselines3.common.vec_env import {', '.join(vectorized)}",
        *imports,
        "",
        "",
        "def make():",
        f"    env = gym.make({recipe.env!r}, **{dict(recipe.env_kwargs)!r})",
        *wrappers,
        "    return Monitor(env)",
        "",
        "",
        f"env = DummyVecEnv([make] * {recipe.evaluation_episodes})",
        *([f"env = VecFrameStack(env, {stack})"] if stack else []),
        *(
            [f'env = VecNormalize.load("{NORMALIZATION}", env)', "env.training = env.norm_reward = False"]
            if normalized
            else []
        ),
        f'model = {name}.load("{MODEL}", device="cpu")',
        f"set_random_seed({episodes})  # of the episodes of the study's last evaluation",
        f"env.seed({episodes})",
        f"mean, std = evaluate_policy(model, env, {recipe.evaluation_episodes}, deterministic={recipe.deterministic})",
        'print(f"{mean} +/- {std}")',
    ]
    return "\n".join(lines) + "\n"
