"""A recipe that is exported for TRL trains there, with `trl grpo --config`."""

from __future__ import annotations

import json
import os
import random
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import probe_tasks
import pytest
import yaml
from probe_tasks import Echo
from small_study import ignore
from tiny_model import save
from typer.testing import CliRunner

from autorl.analysis import prediction
from autorl.cli.app import app
from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.errors import ExportError
from autorl.ledger.reader import Reader
from autorl.report.export import render
from autorl.report.findings import Findings, gather
from autorl.spec.load import draft_study
from autorl.training.llm.problems import draw_many_to_train, draw_to_evaluate, generator
from autorl.training.llm.recipe import settings
from autorl.training.llm.trl_options import options
from autorl.training.tasks import random_streams

pytest.importorskip("trl")

STUDY = """\
study: tiny
task: {{env: "probe_tasks:Echo"}}
algorithm: {{backend: llm, name: grpo, fixed: {{prompts: 4, rollouts: 4, max_tokens: 4, sft_steps: 2}}}}
policy: {{width: 16, layers: 1, heads: 2, context: 32}}
search_space: {{parameters: {{learning_rate: {{min: 1e-5, max: 1e-2, log: true}}}}}}
objectives: [{{metric: pass_at_1}}]
seeds: {{tuning: 0:1, test: 50:51}}
budget: {{trials: 1, steps_per_run: 32}}
evaluation: {{points: 1, episodes: 4}}
optimizer: {{name: random}}
execution: {{executor: inline}}
storage: sqlite:///{folder}/study.db
"""


def studied(folder: Path, *overrides: str) -> Findings:
    file = folder / "study.yaml"
    file.write_text(STUDY.format(folder=folder))
    conduct(check(draft_study(file, overrides)), ignore)
    with Reader(f"sqlite:///{folder}/study.db") as reader:
        return gather(reader, "tiny")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(folder: Path, *command: str) -> str:
    """Run a program that trains, and return what it says."""
    path = os.pathsep.join([str(Path(probe_tasks.__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HOME": str(folder / "hf")}
    trained = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert trained.returncode == 0, trained.stderr[-3000:]
    return trained.stdout


def test_the_file_trains_in_trl(tmp_path: Path) -> None:
    studied(tmp_path)
    storage, file = f"sqlite:///{tmp_path}/study.db", tmp_path / "recipe.yaml"
    # Without a format it is the one that holds a language model's recipe.
    done = CliRunner().invoke(app, ["export", "tiny", "--storage", storage, "--out", str(file)])
    assert done.exit_code == 0, done.output
    written = yaml.safe_load(file.read_text())
    assert written == options(settings("grpo", {"prompts": 4, "rollouts": 4, "max_tokens": 4}), 32)
    assert "Study tiny, trial 0" in file.read_text()

    model, data = tmp_path / "model", tmp_path / "data"
    save(model, Echo.characters)
    data.mkdir()
    (data / "train.jsonl").write_text("".join(json.dumps({"prompt": f"12{n % 10}="}) + "\n" for n in range(40)))
    (tmp_path / "rewards.py").write_text(
        "def long(completions, **_):\n    return [float(len(c)) for c in completions]\n"
    )
    command = ["-m", "trl.scripts.grpo", "--config", str(file), "--dataset_name", str(data)]
    command += ["--reward_funcs", "rewards.long", "--model_name_or_path", str(model)]
    command += ["--output_dir", str(tmp_path / "out"), "--use_cpu", "--bf16", "false", "--report_to", "none"]
    run(tmp_path, *command)
    state = json.loads((tmp_path / "out" / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["global_step"] == written["max_steps"] == 4


LEVELS = ("task.parameters={level: {values: [1, 2]}}", "task.target={level: 2}", "curriculum={kind: bandit, bins: 2}")


@pytest.mark.parametrize("overrides", [(), pytest.param(LEVELS, marks=pytest.mark.slow)])
def test_the_script_trains_the_studys_task(overrides: tuple[str, ...], tmp_path: Path) -> None:
    studied(tmp_path, *overrides)
    storage, file, model = f"sqlite:///{tmp_path}/study.db", tmp_path / "train.py", tmp_path / "model"
    command = ["export", "tiny", "--storage", storage, "--format", "trl-script", "--out", str(file)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    save(model, Echo.characters)
    command = [str(file), "--model", str(model), "--output", str(tmp_path / "out"), "--seed", "3"]
    said = run(tmp_path, *command)
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert "'train_runtime'" in said
    assert re.search(r"greedy score of 4 held-out problems: [01]\.\d{4}", said)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Findings]:
    """Train a tiny model on five test seeds, and return its folder and the study."""
    folder = tmp_path_factory.mktemp("compared")
    save(folder / "model", Echo.characters)
    own = "{prompts: 16, rollouts: 8, learning_rate: 1e-2, divergence: none, max_tokens: 3, minibatches: 2}"
    found = studied(
        folder,
        f"algorithm={{backend: llm, engine: trl, name: grpo, fixed: {own}}}",
        f"policy={{model: {folder / 'model'}}}",
        "search_space.parameters={clip_low: {min: 0.19, max: 0.21}}",
        "objectives=[{metric: greedy}]",
        "seeds.test=50:55",
        "budget.steps_per_run=3200",
        "evaluation={points: 1, episodes: 40}",
    )
    (folder / "train.py").write_text(render(found, found.trials[0], "trl-script"))
    (folder / "recipe.yaml").write_text(render(found, found.trials[0], "trl"))
    return folder, found


def as_predicted(found: Findings, scores: list[float]) -> None:
    expected = prediction(found.scores(0, "test"), len(scores))
    assert expected.low <= np.mean(scores) <= expected.high, (found.scores(0, "test"), scores)
    assert np.mean(scores) > 0.02  # before training nothing comes to its end


@pytest.mark.slow
def test_the_script_comes_to_what_the_study_predicts(compared: tuple[Path, Findings]) -> None:
    folder, found = compared
    command = ("train.py", "--model", "model", "--output", "by_script", "--seed")
    said = [run(folder, *command, str(seed)) for seed in range(60, 63)]
    as_predicted(found, [float(each.rsplit("problems: ", 1)[1]) for each in said])


REWARDS = """\
from probe_tasks import Echo
from transformers import AutoTokenizer
from autorl.training.llm.problems import Problem
END = AutoTokenizer.from_pretrained("model").eos_token_id
def right(prompts, completions, completion_ids, answer, **_):
    rows = zip(prompts, completions, completion_ids, answer, strict=True)
    return [Echo().reward(Problem("", prompt, (), own), text) if END in ids else 0.0 for prompt, text, ids, own in rows]
"""


@pytest.mark.slow
def test_the_file_comes_to_what_the_study_predicts(compared: tuple[Path, Findings]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, found = compared
    (folder / "rewards.py").write_text(REWARDS)
    exported = runpy.run_path(str(folder / "train.py"))  # which knows how the study scores a model
    scores = []
    for seed in range(60, 63):
        rng, data, out = random.Random(seed), folder / f"data{seed}", folder / f"by_file{seed}"
        data.mkdir()
        rows = [{"prompt": each.prompt, "answer": each.answer} for each in draw_many_to_train(Echo(), 400, rng)]
        (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [
            "-m",
            "trl.scripts.grpo",
            "--config",
            "recipe.yaml",
            "--dataset_name",
            str(data),
            "--seed",
            str(seed),
        ]
        command += ["--reward_funcs", "rewards.right", "--output_dir", str(out), "--use_cpu", "--bf16", "false"]
        run(folder, *command, "--report_to", "none")
        model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(folder / "model")
        held_out = draw_to_evaluate(Echo(), 40, seed, generator(random_streams(seed, 1)[2][0]))
        trained = SimpleNamespace(processing_class=tokenizer, model=model)
        scores.append(exported["score"](trained, held_out))
    as_predicted(found, scores)


def test_what_becomes_of_a_curriculum_is_said(tmp_path: Path) -> None:
    found = studied(tmp_path, *LEVELS)
    assert "# Left out: the curriculum (bandit over level), since the data set" in render(found, found.trials[0], "trl")
    script = render(found, found.trials[0], "trl-script")
    compile(script, "script", "exec")
    assert "CURRICULUM = {'kind': 'bandit', 'bins': 2," in script
    assert "bins: 2" in render(found, found.trials[0], "schedule")


def test_hints_cannot_be_written_for_trl(tmp_path: Path) -> None:
    found = studied(tmp_path, *LEVELS[:2], "curriculum={kind: guidance}")
    with pytest.raises(ExportError, match="curriculum guidance asks problems in ways that TRL has not"):
        render(found, found.trials[0], "trl-script")


def test_what_trl_has_no_word_for_is_said(tmp_path: Path) -> None:
    found = studied(tmp_path, "algorithm.fixed.advantage_baseline=leave_one_out", "algorithm.fixed.loss=reinforce")
    with pytest.raises(ExportError, match=r"no loss reinforce.*; TRL has no advantage_baseline leave_one_out"):
        render(found, found.trials[0], "trl")
    with pytest.raises(ExportError, match="sb3 is for trials of backend sb3 or jax, not 'llm'; use --format trl"):
        render(found, found.trials[0], "sb3")
    assert "loss: reinforce" in render(found, found.trials[0], "schedule")
