"""`autorl import` writes files that `autorl validate` takes as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SWEEP = """\
program: train.py
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  vf_coef: {value: 0.7}
"""


def test_a_study_of_rl_zoo3s_settings_is_valid(autorl: Any, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    done = autorl("import", "ppo", "--from", "rl-zoo3", "--env", "CartPole-v1", "--out", str(study))
    assert done.code == 0, done.err
    small = ["budget.steps_per_run=64", "evaluation={points: 1, episodes: 1}"]
    shown = autorl("validate", str(study), *small)
    assert shown.code == 0, shown.err
    assert "n_envs: 8" in shown.out
    written = study.read_text()
    again = autorl("import", "a2c", "--from", "rl-zoo3", "--env", "CartPole-v1", "--out", str(study))
    assert (again.code, study.read_text()) == (2, written)
    assert f"'{study}' exists; write another file with --out" in again.err


def test_a_search_space_is_valid_by_itself(autorl: Any, tmp_path: Path) -> None:
    sweep, space = tmp_path / "sweep.yaml", tmp_path / "space.yaml"
    sweep.write_text(SWEEP)
    done = autorl("import", str(sweep), "--from", "wandb", "--out", str(space))
    assert "1 line could not be translated; it stands in the file as a comment" in done.out
    shown = autorl("validate", str(space))
    assert shown.code == 0
    assert "learning_rate" in shown.out
    printed = autorl("import", str(sweep), "--from", "wandb", "--algorithm", "ppo", "--env", "CartPole-v1")
    assert yaml.safe_load(printed.out)["algorithm"] == {"name": "ppo", "fixed": {"vf_coef": 0.7}}
    broken = autorl("import", str(tmp_path / "none.yaml"), "--from", "wandb")
    assert (broken.code, broken.out) == (2, "")
    assert "none.yaml' cannot be read" in broken.err
