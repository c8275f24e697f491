"""The studies of users' own trainers train what they say, on a small budget."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conformance.backends import learned, train

from autorl.engine.check import check
from autorl.optimizers.priors import draw
from autorl.plugins import find
from autorl.spec.load import draft_study
from autorl.training.protocol import Backend
from autorl.trial import Recipe, bind

STUDIES = Path(__file__).parents[3] / "studies"
PROGRAMS = Path(sys.prefix) / "programs"


def drawn(name: str) -> tuple[Backend, Recipe]:
    """Return a study's backend, and a configuration of its space on a small budget."""
    spec = check(draft_study(STUDIES / f"{name}.yaml"))
    recipe = bind(spec, spec.space, draw(spec.space, np.random.default_rng(0)).values)
    return find("autorl.backends", spec.algorithm.backend)(), replace(recipe, env_steps=4096, evaluation_points=2)


@pytest.mark.parametrize("name", ["own-loop-a2c", "cleanrl-ppo", "rl-zoo3-ppo", "hydra-dqn"])
def test_a_shipped_trainer_trains_a_configuration_of_its_space(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "hydra-dqn" and not PROGRAMS.is_dir():
        pytest.skip("hydra-core is not there: make install-dev puts it into .venv/programs")
    if name == "rl-zoo3-ppo" and find_spec("rl_zoo3") is None:
        pytest.skip("rl-zoo3 is not installed")
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS) if name == "hydra-dqn" else "")
    backend, recipe = drawn(name)
    curve = learned(train(backend, recipe, tmp_path / "a"))
    assert len(curve) == 2
    assert all(9 <= metrics["return"] <= 500 for _, metrics in curve)
