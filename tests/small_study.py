"""A real study that takes seconds: PPO on a probe environment whose best return is known to be 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autorl.engine.check import check
from autorl.engine.progress import Progress
from autorl.spec.load import draft_study
from autorl.spec.study import StudySpec

TEXT = """\
study: small
task: {{env: "probe_envs:autorl-tests/Bandit-v0"}}
algorithm: {{name: ppo, fixed: {{n_steps: 32, n_epochs: 2}}}}
policy: {{net_arch: [8]}}
search_space:
  parameters:
    learning_rate: {{min: 1e-4, max: 1e-1, log: true}}
    gamma: {{min: 1e-3, max: 0.1, log: true, transform: one_minus}}
    batch_size: {{min: 3, max: 5, transform: power_of_two}}
    vf_clip: {{values: [false, true], default: false}}
    clip_range_vf: {{min: 0.1, max: 1.0, when: {{vf_clip: true}}}}
seeds: {{tuning: 0:2, validation: 10:12, test: 20:23}}
retest: {{top: 2}}
budget: {{trials: 6, steps_per_run: 128}}
evaluation: {{points: 2, episodes: 4}}
optimizer: {{name: random, seed: 1}}
execution: {{executor: inline, workers: 2}}
storage: sqlite:///{folder}/study.db
"""


def write(folder: Path) -> Path:
    """Write the study file into a folder, with its database beside it."""
    file = folder / "small.yaml"
    file.write_text(TEXT.format(folder=folder))
    return file


def load(folder: Path, *overrides: str) -> StudySpec:
    """Return the study, with keys changed as on the command line."""
    return check(draft_study(write(folder), overrides))


def ignore(_progress: Progress) -> None:
    """Watch nothing."""


def kwargs(**env_kwargs: Any) -> str:
    """Return an override that sets the environment's arguments."""
    return "task.env_kwargs=" + str(env_kwargs).replace("'", '"')
