"""Every study and every part of one that the documentation shows is checked, and then run.

Two differences: it is made small, and goes into a database of its own. A part is laid over a study around it.
"""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml
from landscapes import write_landscape
from pages import ROOT, block, blocks
from small_study import ignore
from tiny_model import save

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.ledger.reader import Reader
from autorl.spec.load import draft_study
from autorl.spec.study import StudySpec
from autorl.training.landscape.table import landscape_space
from autorl.training.llm.suites import make_task

SMALL = (
    "budget={trials: 1, steps_per_run: 128}",
    "seeds={tuning: 0:1, test: 50:51}",
    "evaluation={points: 1, episodes: 4}",
    "execution.executor=inline",
)
LANGUAGE = ("algorithm.fixed.prompts=2", "algorithm.fixed.max_tokens=4")
BRIEF = ("algorithm.fixed.sft_steps=2", "algorithm.fixed.sft_batch=8")
BASE = """\
study: base
task: {env: CartPole-v1}
algorithm: {name: ppo}
search_space: {parameters: {learning_rate: {min: 1e-5, max: 1e-2, log: true}, batch_size: {values: [64, 128]}}}
seeds: {tuning: 0:2, test: 10:12}
budget: {trials: 4, steps_per_run: 1000}
"""
TRAINER = """\
import argparse, csv, json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--steps", type=int, default=128)
parser.add_argument("--logs", type=Path)
told = parser.parse_args()
found = told.lr * 1e3 + told.seed
if told.logs:
    with (told.logs / "progress.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("time/total_timesteps", "rollout/ep_rew_mean"), (told.steps, found)])
elif "--steps" in __import__("sys").argv:
    print(json.dumps({"env_steps": told.steps, "return": found}))
else:
    print(f"step={told.steps} return={found}")
"""
CURRICULA = ROOT / "docs" / "curricula.md"
FOUND = [(name, text) for name, text in blocks("yaml") if "executor: ray" not in text]  # that: execution/test_ray.py


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the shipped files, and with what the reader of these pages has."""
    folder = tmp_path / "here"
    for name in ("here", "my-project"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text(TRAINER)
    for name in ("search_spaces", "studies"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "own_loop.py").write_text("def train(config, seed, budget, report):\n    report(128, 1.0)\n")
    return folder


def conducted(file: Path, *overrides: str) -> StudySpec:
    """Run a study, and return it if each of its runs came to its end."""
    spec = check(draft_study(file, (*SMALL, f"storage=sqlite:///{file.parent}/own.db", *overrides)))
    assert conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        assert {run.state for run in reader.runs(spec.study)} == {"completed"}
    return spec


def around(text: str, folder: Path) -> tuple[str, list[str]]:
    """Return the study that a part belongs to, and what of it is not here, with what it speaks of in the folder."""
    data = yaml.safe_load(text)
    base, elsewhere = BASE, list[str]()
    own = base.replace(", batch_size: {values: [64, 128]}", "")
    if "program" in data and "algorithm" not in data:
        base = own.replace("{name: ppo}", "{backend: command, name: own}")
    if "sets: curriculum." in text:  # these are searched over what the page's first block lets vary
        base = base.replace("task: {env: CartPole-v1}\n", "") + block("yaml", CURRICULA, "size: 20")
    if "learned_from" in text:
        (folder / "earlier.yaml").write_text(re.sub("curriculum: .*", "curriculum: {kind: alp_gmm}", base))
        longer = ("budget.steps_per_run=2048", "evaluation.points=4", "optimizer.name=random")
        conducted(folder / "earlier.yaml", "study=lake-alp-gmm", "algorithm.fixed={n_steps: 128}", *longer)
    if "env: steps" in text or "engine: trl" in text:
        elsewhere += [*LANGUAGE, *(() if "engine: trl" in text else BRIEF)]
        if "objectives" not in data:
            base = own.replace("{name: ppo}", "{backend: llm, name: grpo}\nobjectives: [{metric: pass_at_1}]")
    if "engine: trl" in text:
        base = base.replace("CartPole-v1", "steps")
        save(folder / "my-model", make_task("steps", {}).characters)
        elsewhere.append("policy.model=my-model")
    if "trajectories: teacher/trajectories.npz" in text:  # an episode that goes one field to the east
        (folder / "teacher").mkdir()
        env = gym.make(data["task"]["env"])
        seen = [env.reset(seed=0)[0], env.step(2)[0]]
        played = {"seeds": np.array([0]), "lengths": np.array([2]), "actions": np.array([2, 0])}
        np.savez(folder / "teacher" / "trajectories.npz", **played, observations=np.array(seen))
    if "metric: cost" in text and "cost" not in data.get("task", {}):
        base = base.replace("{env: CartPole-v1}", "{env: CartPole-v1, cost: probe_envs:swing}")
    if "transfer: {study: last-week" in text:
        (folder / "earlier.yaml").write_text(base)
        conducted(folder / "earlier.yaml", "study=last-week")
    if "backend: landscape" in text:
        (folder / "tables").mkdir()
        table = write_landscape(folder / "tables" / "ppo_cc_cartpole.npz")
        (folder / "space.yaml").write_text(yaml.safe_dump(landscape_space(table)))
        base = re.sub("search_space: .*", "search_space: space.yaml", base)
        elsewhere.append("seeds={tuning: 0:1, test: 5:6}")
    return base, elsewhere


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", [text for _, text in FOUND], ids=[name for name, _ in FOUND])
def test_a_study_in_the_documentation_trains(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if set(yaml.safe_load(text)) == {"parameters"}:
        (folder / "space.yaml").write_text(text)
        text = "search_space: space.yaml"
    base, elsewhere = around(text, folder)
    (folder / "base.yaml").write_text(base)
    (folder / "block.yaml").write_text("include: base.yaml\n" + text)
    conducted(folder / "block.yaml", *elsewhere)
