"""Trackers hold every run that is not in training once, with its curve, its configuration and its score."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from small_study import ignore, load
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.ledger import archive
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord
from autorl.spec.load import draft_study
from autorl.trial import Point


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    spec = load(tmp_path_factory.mktemp("tracked"), "budget.trials=2")
    assert conduct(spec, ignore, lambda: False)
    return spec.storage


def track(storage: str, *words: str) -> str:
    result = CliRunner().invoke(app, ["track", "small", "--storage", storage, *words])
    assert result.exit_code == 0, result.output
    return result.output


def standing(storage: str) -> list[tuple[RunRecord, tuple[Point, ...]]]:
    with Reader(storage) as reader:
        runs = [run for run in reader.runs("small") if run.state in ("completed", "failed", "paused")]
        curves = {c.run: c.points for c in reader.curves("small", {run.trial for run in runs})}
    by_key = {(run.trial, run.phase, run.seed): points for run, points in curves.items()}
    return [(run, by_key[run.trial, run.phase, run.seed]) for run in runs]


def test_tensorboard_shows_curves_and_hyperparameters(storage: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="extra 'tracking' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = standing(storage)
    assert f"tensorboard: {len(runs)} runs" in track(storage, "--tensorboard", str(tmp_path))
    assert "tensorboard: 0 runs" in track(storage, "--tensorboard", str(tmp_path))
    assert len(list((tmp_path / "small").iterdir())) == len(runs)
    run, curve = runs[0]
    events = EventAccumulator(str(tmp_path / "small" / f"trial{run.trial}-{run.phase}-seed{run.seed}"))
    events.Reload()
    seen = events.Scalars("evaluation/return")
    assert [(e.step, e.value) for e in seen] == [
        (point.env_steps, pytest.approx(point.metrics["return"])) for point in curve
    ]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_mlflow_holds_each_run_once(storage: str, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="extra 'tracking' is not installed")
    from mlflow.tracking import MlflowClient

    uri, runs = f"sqlite:///{tmp_path}/mlflow.db", standing(storage)
    track(storage, "--mlflow", uri)
    assert "mlflow: 0 runs" in track(storage, "--mlflow", uri)
    client = MlflowClient(tracking_uri=uri)
    held = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert len(held) == len(runs)
    run, curve = next((run, curve) for run, curve in runs if run.phase == "test")
    (one,) = [mirrored for mirrored in held if mirrored.info.run_name == f"trial{run.trial}-test-seed{run.seed}"]
    assert one.data.metrics["score"] == run.score
    steps = [(metric.step, metric.value) for metric in client.get_metric_history(one.info.run_id, "evaluation/return")]
    assert steps == [(point.env_steps, point.metrics["return"]) for point in curve]


def test_wandb_keeps_each_run_once_without_an_account(storage: str, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="extra 'tracking' is not installed")
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB__SERVICE_WAIT": "300"}
    command = [sys.executable, "-m", "autorl", "track", "small", "--storage", storage, "--wandb", "mine"]
    said = [
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    runs = standing(storage)
    assert f"wandb: {len(runs)} runs written to mine" in said[0]
    assert "wandb: 0 runs" in said[1]
    kept = [kept_by_wandb(file) for file in (tmp_path / "wandb").glob("offline-run-*/*.wandb")]
    assert {(own["trial"], own["phase"], own["seed"]): (curve, score) for own, curve, score in kept} == {
        (run.trial, run.phase, run.seed): ([(p.env_steps, p.metrics["return"]) for p in curve], run.score)
        for run, curve in runs
    }
    assert all("learning_rate" in own for own, _, _ in kept)


def test_what_wandb_did_not_keep_is_not_done(storage: str, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="extra 'tracking' is not installed")
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    command = [sys.executable, "-m", "autorl", "track", "small", "--storage", storage, "--wandb", "mine"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "W&B is disabled here, and keeps nothing; with WANDB_MODE=offline it needs no account" in done.stderr
    assert not list(tmp_path.rglob("autorl-*.txt"))


def test_an_experiment_that_was_deleted_is_not_written_to(storage: str, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="extra 'tracking' is not installed")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(uri := f"sqlite:///{tmp_path}/mlflow.db"))
    client.delete_experiment(one := client.create_experiment("small"))
    failed = CliRunner().invoke(app, ["track", "small", "--storage", storage, "--mlflow", uri])
    assert f"mlflow experiments restore --experiment-id {one}" in str(failed.exception)
    client.restore_experiment(one)
    assert f"mlflow: {len(standing(storage))} runs" in track(storage, "--mlflow", uri)


def kept_by_wandb(file: Path) -> tuple[dict[str, Any], list[tuple[int, float]], float]:
    """Return a run's configuration, the returns of its evaluations and its score, from W&B's log on the disk.

    The log is LevelDB's: blocks of 32 KiB, in which records have a header of a checksum, a length and which part they
    are (whole 1, first 2, middle 3, last 4).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, part, records = file.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        part = (b"" if kind in (1, 2) else part) + content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            records.append(Record.FromString(part))

    def named(items: Iterable[Any]) -> dict[str, Any]:
        return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}

    (config,) = (named(record.run.config.update) for record in records if record.HasField("run"))
    logged = [named(record.history.item) for record in records if record.HasField("history")]
    summary: dict[str, Any] = {}
    for record in records:
        summary |= named(record.summary.update)
    return config, [(row["env_steps"], row["evaluation/return"]) for row in logged], summary["score"]


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_runs_that_pause_are_mirrored_and_written_anew_once_they_go_on(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(kind, reason="extra 'tracking' is not installed")
    asha = "optimizer={name: asha, seed: 1, min_fraction: 0.25, reduction_factor: 2}"
    spec = load(tmp_path, asha, "budget.trials=8", "evaluation={points: 4, episodes: 2}")
    where = str(tmp_path / "events") if kind == "tensorboard" else f"sqlite:///{tmp_path}/mlflow.db"

    def paused() -> list[RunRecord]:
        return [run for run, _ in standing(spec.storage) if run.state == "paused"]

    assert not conduct(spec, ignore, lambda: len(paused()) >= 3)
    before = paused()
    track(spec.storage, f"--{kind}", where)
    assert conduct(spec, ignore)
    gone_on = {run.run for run in before} & {run.run for run, _ in standing(spec.storage) if run.state == "completed"}
    assert gone_on
    assert paused()  # of trials that were given up
    track(spec.storage, f"--{kind}", where)
    assert f"{kind}: 0 runs" in track(spec.storage, f"--{kind}", where)
    expected = {f"trial{r.trial}-{r.phase}-seed{r.seed}": r.env_steps for r, _ in standing(spec.storage)}
    assert last_steps(kind, where) == expected


def test_runs_of_an_earlier_study_of_the_same_name_are_written_over(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="extra 'tracking' is not installed")
    (database := tmp_path / "study.db").touch()
    words = ("--tensorboard", str(tmp_path / "events"))
    for epochs in (2, 3):
        database.unlink()
        spec = load(tmp_path, "budget.trials=2", "retest.top=1", f"algorithm.fixed.n_epochs={epochs}")
        conduct(spec, ignore)
        # As many runs as before, with the same names, steps and attempts.
        assert f"tensorboard: {len(standing(spec.storage))} runs" in track(spec.storage, *words)
    archive.dump(spec.storage, "small", tmp_path / "small.zip", {})
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    archive.load(tmp_path / "small.zip", elsewhere)
    assert "tensorboard: 0 runs" in track(elsewhere, *words)


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_a_parameter_may_be_called_as_what_autorl_tells_of_a_run(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(kind, reason="extra 'tracking' is not installed")
    space = "search_space.parameters={phase: {min: 0.5, max: 0.9, sets: gamma}, seed: {values: [1, 2], sets: n_epochs}}"
    spec = load(tmp_path, space, "budget.trials=1", "seeds={tuning: 4:5, test: 20:21}", "algorithm.fixed={n_steps: 32}")
    conduct(spec, ignore)
    where = str(tmp_path / "events") if kind == "tensorboard" else f"sqlite:///{tmp_path}/mlflow.db"
    track(spec.storage, f"--{kind}", where)
    for phase, seed in (("tuning", 4), ("test", 20)):
        told = hyperparameters(kind, where, f"trial0-{phase}-seed{seed}")
        assert (told["phase"], told["seed"]) == ("0.99", "10")  # PPO's own gamma and epochs
        assert (told["autorl.phase"], told["autorl.seed"], told["trial"]) == (phase, str(seed), "0")


PROGRAM = """\
study: small
task: {{env: Counting}}
algorithm: {{backend: command, name: count}}
program: {{command: "{python} count.py --seed {{seed}} --times {{times}}", folder: {folder}}}
objectives: [{{metric: score}}]
search_space: {{parameters: {{times: {{values: [1]}}}}}}
seeds: {{tuning: 0:1, test: 10:11}}
budget: {{trials: 1, steps_per_run: 4}}
evaluation: {{points: 2}}
execution: {{executor: inline}}
storage: sqlite:///{folder}/study.db
"""


def test_a_metric_that_is_called_score_keeps_its_own_curve(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="extra 'tracking' is not installed")
    from mlflow.tracking import MlflowClient

    lines = [json.dumps({"env_steps": n, "score": n}) for n in range(1, 5)]
    (tmp_path / "count.py").write_text("".join(f"print('{line}')\n" for line in lines))
    (file := tmp_path / "study.yaml").write_text(PROGRAM.format(python=sys.executable, folder=tmp_path))
    spec = check(draft_study(file, []))
    conduct(spec, ignore)
    track(spec.storage, "--mlflow", uri := f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient(tracking_uri=uri)
    for run, curve in standing(spec.storage):
        held = client.search_runs([client.get_experiment_by_name("small").experiment_id])
        name = f"trial{run.trial}-{run.phase}-seed{run.seed}"
        (one,) = [mirrored for mirrored in held if mirrored.info.run_name == name]
        kept = client.get_metric_history(one.info.run_id, "evaluation/score")
        assert [metric.value for metric in kept] == [point.metrics["score"] for point in curve]
        assert one.data.metrics["score"] == run.score


def hyperparameters(kind: str, where: str, name: str) -> dict[str, str]:
    """Return what a tracker says that a run trained."""
    if kind == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        events = EventAccumulator(str(Path(where) / "small" / name))
        events.Reload()
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        told = HParamsPluginData.FromString(content).session_start_info.hparams
        return {key: value.string_value or f"{value.number_value:g}" for key, value in told.items()}
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=where)
    held = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    (one,) = [run for run in held if run.info.run_name == name]
    return dict(one.data.params)


def last_steps(kind: str, where: str) -> dict[str, int]:
    """Return the environment steps of the last evaluation of each run that a tracker holds."""
    if kind == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = {}
        for folder in (Path(where) / "small").iterdir():
            events = EventAccumulator(str(folder))
            events.Reload()
            found[folder.name] = events.Scalars("evaluation/return")[-1].step
        return found
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=where)
    held = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert len({run.info.run_name for run in held}) == len(held)
    return {run.info.run_name: client.get_metric_history(run.info.run_id, "evaluation/return")[-1].step for run in held}


def test_it_says_what_is_missing(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = CliRunner().invoke(app, ["track", "small", "--storage", storage])
    assert "say where to write to: --tensorboard, a folder" in str(nowhere.exception)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    without = CliRunner().invoke(app, ["track", "small", "--storage", storage, "--mlflow", "sqlite:///m.db"])
    assert "--mlflow needs 'mlflow'; run: pip install 'autorl[tracking]'" in str(without.exception)


def test_a_tracker_that_takes_nothing_is_named(storage: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="extra 'tracking' is not installed")
    (tmp_path / "file").write_text("no folder")
    failed = CliRunner().invoke(app, ["track", "small", "--storage", storage, "--tensorboard", f"{tmp_path}/file"])
    assert f"{tmp_path}/file takes no runs (NotADirectoryError" in str(failed.exception)
