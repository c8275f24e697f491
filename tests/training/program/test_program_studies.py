"""Studies of users' own trainers: what is found before anything runs, and a whole study of each kind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_study import ignore

from autorl.engine.check import check
from autorl.engine.conductor import conduct, retest
from autorl.errors import SpecError, StorageError
from autorl.ledger.reader import Reader
from autorl.report.export import fitting, render
from autorl.report.findings import gather
from autorl.spec.load import draft_study
from autorl.spec.study import StudySpec

HERE = Path(__file__).parent
STUDY = """\
study: walk
task: {{env: Walk}}
algorithm: {{backend: {backend}, name: walk}}
program:
{program}
search_space:
  parameters:
    drift: {{min: -1.0, max: 1.0, default: 0.0}}
seeds: {{tuning: 0:2, validation: 4:6, test: 10:13}}
budget: {{trials: 6, steps_per_run: 600}}
evaluation: {{points: 4}}
execution: {{workers: 2}}
storage: sqlite:///{folder}/study.db
"""
FUNCTION = "  function: trainers:walk\n  checkpoint: true"
COMMAND = (
    "  command: '{python} walk.py --drift {drift} --seed {seed} --steps {env_steps} --until {until}"
    " --state {checkpoint}'\n"
    "  checkpoint: true"
)


def load(folder: Path, program: str, *overrides: str) -> StudySpec:
    backend = "function" if "function" in program else "command"
    file = folder / "walk.yaml"
    for trainer in ("walk.py", "trainers.py"):
        shutil.copy(HERE / trainer, folder)
    (folder / "leaves.py").write_text("raise SystemExit(2)\n")
    where = "" if "folder:" in program else f"\n  folder: {folder}"
    file.write_text(STUDY.format(backend=backend, program=program + where, folder=folder))
    return check(draft_study(file, overrides))


@pytest.mark.parametrize(("program", "optimizer"), [(FUNCTION, "race"), (COMMAND, "pbt")])
def test_a_study_finds_the_drift(program: str, optimizer: str, tmp_path: Path) -> None:
    spec = load(tmp_path, program, f"optimizer.name={optimizer}")
    assert conduct(spec, ignore, lambda: False)
    with Reader(spec.storage) as reader:
        findings = gather(reader, spec.study)
        exported = {name: render(findings, findings.trials[0], name) for name in fitting(spec.algorithm.backend)}
    assert findings.winner is not None
    assert json.loads(exported["json"])["hyperparameters"] == {"drift": 0.0}
    if "command" in exported:
        script = exported["command"].replace("python walk", f"{sys.executable} walk")
        for seed in (10, 11):
            said = subprocess.run(["sh", "-c", script, "script", str(seed)], capture_output=True, text=True, check=True)
            # The last of four points is the mean of the last five reports.
            last = [json.loads(line)["return"] for line in said.stdout.splitlines()][-5:]
            scored = next(run for run in findings.runs[0] if (run.phase, run.seed) == ("test", seed)).score
            assert sum(last) / 5 == pytest.approx(scored)
        refused = subprocess.run(["sh", "-c", script, "script", "11"], capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "walk-trial0-seed11 is of an earlier run: remove it to run this seed again" in refused.stderr
    assert findings.winner.config.values["drift"] > 0
    assert not findings.failed


SAYS = """\
  command: ["{python}", says.py, --name, "run {seed}", --learning-rate, "{drift}"]"""


def test_the_exported_script_gives_the_program_what_training_gave_it(tmp_path: Path) -> None:
    (tmp_path / "says.py").write_text(
        "import json, os, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('AUTORL_') and k != 'AUTORL_RUN_FOLDER'}\n"
        "print(json.dumps({'env_steps': 600, 'return': 1.0, 'told': told, 'words': sys.argv}))\n"
    )
    spec = load(tmp_path, SAYS, "budget.trials=1", "evaluation.points=1")
    assert conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        findings = gather(reader, spec.study)
    script = render(findings, findings.trials[0], "command").replace("python says", f"{sys.executable} says")
    done = subprocess.run(["sh", "-c", script, "script", "12"], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["words"][1:3] == ["--name", "run 12"]
    assert (said["told"]["AUTORL_SEED"], said["told"]["AUTORL_ENV_STEPS"]) == ("12", "600")


def test_rollouts_that_end_beyond_the_points_count_as_others_do(tmp_path: Path) -> None:
    """Rollouts of 50 steps end at each of the points 150, 300, 450 and 600; those of 70 beyond all of them."""
    program = FUNCTION.replace("trainers:walk", "trainers:rollouts")
    space = "search_space.parameters={rollout: {values: [50, 70]}, drift: {min: -1.0, max: 1.0, default: 0.0}}"
    spec = load(tmp_path, program, space, "seeds={tuning: 0:2, test: 10:13}", "budget.trials=10")
    assert conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        found = gather(reader, spec.study)
    whole = [trial for trial in found.trials if trial.seeds == 2]
    assert {trial.config.values["rollout"] for trial in whole} == {50, 70}
    assert all(trial.posterior is not None for trial in whole)
    assert found.winner is not None
    assert found.winner.config.values["rollout"] == 70


@pytest.mark.parametrize(
    ("program", "overrides", "said"),
    [
        (
            FUNCTION,
            ["algorithm={backend: sb3, name: ppo}", "task.env=CartPole-v1", "search_space={}"],
            "program: only backends function and command run it",
        ),
        (FUNCTION, ["algorithm.backend=command"], "program: backend 'command' needs 'command'"),
        ("  function: trainers:wlak", [], "'trainers' has no attribute 'wlak'"),
        ("  function: trianers:walk", [], "No module named 'trianers'"),
        ("  function: leaves:walk", [], "put what it does under if __name__ == '__main__'"),
        ("  function: trainers.walk", [], "program.function"),
        ("  function: trainers:walk\n  folder: nowhere", [], "is no folder"),
        ("  function: trainers:walk\n  command: 'true'", [], "give 'function' or 'command', one of them"),
        ("  function: trainers:walk\n  variables: {A: b}", [], "variables: only a command has it"),
        (
            COMMAND.replace("{drift}", "{dirft}"),
            [],
            "{dirft} is no parameter and no placeholder; did you mean 'drift'?",
        ),
        (COMMAND.replace("--drift {drift} ", ""), [], "drift: the command does not use it: put {drift} into it"),
        (COMMAND.replace(" --until {until}", ""), [], "has to be told of {until}"),
        (COMMAND.replace("{python}", "pythno"), [], "'pythno' is no program that can be run"),
        (COMMAND.replace("--seed", "--x={arguments}"), [], "{arguments} becomes several words"),
        (COMMAND + "\n  reports: {format: pattern}", [], "give the regular expressions"),
        (COMMAND + "\n  reports: {format: pattern, pattern: '('}", [], "is no regular expression"),
        (COMMAND + "\n  reports: {format: pattern, pattern: 'a(?P<return>b)'}", [], "no group is named 'env_steps'"),
        (
            COMMAND + "\n  reports: {format: pattern, pattern: '(?P<env_steps>.)(?P<retrun>b)'}",
            [],
            "no group of program.reports.pattern is named 'return'; did you mean 'retrun'?",
        ),
        (
            COMMAND,
            ["objectives.0.metric=inference_ms", "objectives.0.direction=minimize"],
            "'inference_ms' is measured",
        ),
        (COMMAND + "\n  argument: '{env}.{name}={value}'", [], "{env} has no place in it, only {name} and {value}"),
        (COMMAND, ["task.wrappers=[a:b]"], "your own trainer makes the environment"),
        (COMMAND + "\n  reports: {format: csv, file: '{seed}.csv'}", [], "put {run_folder} into its name"),
        (
            COMMAND,
            ["search_space.parameters={drift: {min: 0, max: 1}, seed: {values: [1, 2]}}"],
            "seed: {seed} is the run's seed, so that the command never gets this one: give it another name",
        ),
    ],
)
def test_mistakes_are_found_before_anything_runs(program: str, overrides: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load(tmp_path, program, *overrides)
    assert said in str(error.value)
    assert len(error.value.problems) == 1, str(error.value)


@pytest.mark.parametrize("file", ["{run_folder}/log.csv", "{checkpoint}.csv", "{drift}-{seed}.csv"])
def test_a_file_of_reports_is_one_runs(file: str, tmp_path: Path) -> None:
    assert load(tmp_path, COMMAND + f"\n  reports: {{format: csv, file: '{file}'}}")


def test_a_program_may_read_all_of_its_orders_from_its_environment(tmp_path: Path) -> None:
    spec = load(tmp_path, "  command: '{python} walk.py --drift {drift}'\n  checkpoint: true")
    assert spec.program is not None
    assert spec.program.checkpoint


def test_a_folder_is_relative_to_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_trainer.py").write_text("def train(config, seed, budget, report): return 1.0\n")
    text = STUDY.format(backend="function", program="  function: own_trainer:train\n  folder: ../code", folder=tmp_path)
    (tmp_path / "studies" / "own.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    spec = check(draft_study(Path("studies/own.yaml")))
    assert spec.program is not None
    assert spec.program.folder == str(tmp_path / "code")


def test_parameters_may_have_any_name_that_a_space_takes(tmp_path: Path) -> None:
    program = COMMAND.replace("{drift}", "{max-grad.norm@1}")
    space = "search_space.parameters={max-grad.norm@1: {min: -1.0, max: 1.0, default: 0.0, sets: drift-2}}"
    with pytest.raises(SpecError, match=r"put \{drift-2\} into it"):
        load(tmp_path, program.replace("{max-grad.norm@1}", "0"), space)
    assert load(tmp_path, program.replace("{max-grad.norm@1}", "{drift-2}"), space)


@pytest.mark.parametrize("program", [FUNCTION, COMMAND])
def test_a_study_goes_on_where_its_trainer_has_been_moved(program: str, tmp_path: Path) -> None:
    (first := tmp_path / "first").mkdir()
    storage = f"storage=sqlite:///{tmp_path}/study.db"
    asked = (storage, "optimizer={name: random, seed: 0}", "execution.executor=inline")
    spec = load(first, program, *asked)
    passed: list[int] = []

    def stopping() -> bool:
        return len(passed) > 5

    assert not conduct(spec, lambda progress: passed.append(progress.env_steps), stopping)
    with Reader(spec.storage) as reader:
        before = [run for run in reader.runs("walk") if run.state == "completed"]
    second = first.rename(tmp_path / "second")
    moved = load(second, program, *asked)
    assert conduct(moved, ignore)
    with Reader(spec.storage) as reader:
        found = gather(reader, "walk")
        after = {run.run: run for run in reader.runs("walk")}
    assert not found.failed
    assert all(after[run.run] == run for run in before)
    second.rename(first)
    with pytest.raises(StorageError, match=r"its trainer's folder '.*second' is not here; run the study's file"):
        retest(found.spec.model_copy(update={"storage": spec.storage}), [0, 1], ignore)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            '  command: "{python} app.py env.id={env} seed={seed} +n={env_steps} log=false hydra.run.dir=.'
            ' ++agent.rate={drift} {arguments}"\n'
            '  argument: "++agent.{name}={value}"',
            {"env": {"id": "Walk"}, "n": 600, "log": False, "agent": {"rate": 0.0, "width": 8}},
        ),
        ("  command: '{python} app.py --seed {seed} --drift {drift} {arguments}'", {"drift": 0.0, "width": 8}),
        (FUNCTION, {"drift": 0.0, "width": 8}),
    ],
)
def test_a_config_of_hydra_has_the_keys_that_the_application_is_given(
    program: str, expected: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text('print(\'{"env_steps": 600, "return": 1.0}\')\n')
    spec = load(tmp_path, program, "algorithm.fixed.width=8", "budget.trials=1", "evaluation.points=1")
    assert conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        findings = gather(reader, spec.study)
    exported = render(findings, findings.trials[0], "hydra")
    assert exported.startswith("# @package _global_\n")
    assert yaml.safe_load(exported) == expected
