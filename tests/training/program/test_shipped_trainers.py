"""The studies of users' own trainers, on a small budget: they train, survive their death, and their exports run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
from conformance.backends import learned, train

from autorl.engine.check import check
from autorl.errors import StorageError
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord
from autorl.optimizers.priors import draw
from autorl.plugins import find
from autorl.report.export import render
from autorl.report.findings import gather
from autorl.spec.load import draft_study
from autorl.training.protocol import Backend
from autorl.trial import Recipe, bind

STUDIES = Path(__file__).parents[3] / "studies"
PROGRAMS = Path(sys.prefix) / "programs"


@pytest.fixture
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "hydra-dqn" and not PROGRAMS.is_dir():
        pytest.skip("hydra-core is not there: make install-dev puts it into .venv/programs")
    if name == "rl-zoo3-ppo" and find_spec("rl_zoo3") is None:
        pytest.skip("rl-zoo3 is not installed")
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS) if name == "hydra-dqn" else "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return name


def drawn(name: str) -> tuple[Backend, Recipe]:
    """Return a study's backend, and a configuration of its space on a small budget."""
    spec = check(draft_study(STUDIES / f"{name}.yaml"))
    recipe = bind(spec, spec.space, draw(spec.space, np.random.default_rng(0)).values)
    return find("autorl.backends", spec.algorithm.backend)(), replace(recipe, env_steps=4096, evaluation_points=2)


@pytest.mark.parametrize("name", ["own-loop-a2c", "cleanrl-ppo", "rl-zoo3-ppo", "hydra-dqn"], indirect=True)
def test_a_shipped_trainer_trains_a_configuration_of_its_space(name: str, tmp_path: Path) -> None:
    backend, recipe = drawn(name)
    curve = learned(train(backend, recipe, tmp_path / "a"))
    assert len(curve) == 2
    assert all(9 <= metrics["return"] <= 500 for _, metrics in curve)


SMALL = (
    "budget={trials: 2, steps_per_run: 4096}",
    "evaluation.points=2",
    "seeds={tuning: 0:2, validation: 50:52, test: 100:102}",
    "execution.workers=2",
    "optimizer={name: random, seed: 0}",  # which trains every configuration in full
)


def start(name: str, url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "autorl", "run", str(STUDIES / f"{name}.yaml"), *SMALL, f"storage={url}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def completed(name: str, url: str) -> dict[object, RunRecord]:
    try:
        with Reader(url) as reader:
            return {run.run: run for run in reader.runs(name) if run.state == "completed"}
    except StorageError:  # the database is not there yet
        return {}


def returns(output: str, pattern: str) -> list[tuple[int, float]]:
    """Return the environment steps and returns that a program printed."""
    return [(int(each["env_steps"]), float(each["return"])) for each in re.finditer(pattern, output)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cleanrl-ppo", "rl-zoo3-ppo", "hydra-dqn"], indirect=True)
def test_a_shipped_study_survives_its_death_and_its_exports_train(name: str, tmp_path: Path) -> None:
    url, done = f"sqlite:///{tmp_path}/study.db", dict[object, RunRecord]()
    for least in (1, 6):
        engine = start(name, url)
        while len(done := completed(name, url)) < least:
            assert engine.poll() is None
            time.sleep(0.2)
        processes = psutil.Process(engine.pid).children(recursive=True)
        engine.kill()
        engine.wait()
        assert not psutil.wait_procs(processes, timeout=60)[1]  # no trainer is left
        before = completed(name, url)
        assert before.items() >= done.items()
    assert start(name, url).wait() == 0
    assert completed(name, url).items() >= before.items()  # not one was trained again
    with Reader(url) as reader:
        findings = gather(reader, name)
        assert findings.winner is not None
        assert findings.headline is not None
        trial = findings.trials[1]
        run = next(record.run for record in findings.runs[1] if record.state == "completed")
        (curve,) = (each for each in reader.curves(name, [1], run.phase) if each.run == run)
    last = curve.points[-1].metrics["return"]
    program = findings.spec.program
    assert program is not None
    (pattern,) = program.reports.pattern or (r'{"env_steps": (?P<env_steps>\d+), "return": (?P<return>[\d.]+)}',)
    trainers, script = shutil.copytree(STUDIES / "trainers", tmp_path / "trainers"), tmp_path / "winner.sh"
    exported = render(findings, trial, "command").replace("\npython ", f"\n{sys.executable} ")
    script.write_text(exported.replace(f"cd {STUDIES / 'trainers'}", f"cd {trainers}"))
    commands = [["sh", str(script), str(run.seed)]]
    if name == "hydra-dqn":
        (trainers / "conf" / "autorl").mkdir()
        (trainers / "conf" / "autorl" / "winner.yaml").write_text(render(findings, trial, "hydra"))
        commands.append([sys.executable, "hydra_dqn.py", "+autorl=winner", f"seed={run.seed}"])
    for command in commands:
        ran = subprocess.run(command, cwd=trainers, capture_output=True, text=True, check=True, env=os.environ)
        # A point is the mean of what was reported since the one before, to which the report that reached it belongs.
        found = returns(ran.stdout, pattern)
        reached = next(index for index, (steps, _) in enumerate(found) if steps >= 2048)
        assert np.mean([value for _, value in found[reached + 1 :]]) == pytest.approx(last)
