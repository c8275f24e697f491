"""In Python a study is conducted and looked at as on the command line, with the same numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quickly import some
from small_study import TEXT
from typer.testing import CliRunner

import autorl
from autorl.cli.app import app
from autorl.errors import AutorlError, SpecError, StorageError
from autorl.ledger.reader import Reader
from autorl.spec.yaml12 import parse

FOLDER = Path(__file__).parent / "training" / "program"
SHIPPED = Path(__file__).parents[1] / "studies"
STUDIES = sorted(file.stem for file in SHIPPED.glob("*.yaml"))


def small(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = parse(TEXT.format(folder=folder).encode(), "small").data
    return data


def walk(folder: Path, function: Any = "trainers:walk") -> dict[str, Any]:
    return {
        "study": "walk",
        "task": {"env": "Walk"},
        "algorithm": {"backend": "function", "name": "walk"},
        "program": {"function": function, "folder": FOLDER, "checkpoint": True},
        "search_space": {"parameters": {"drift": {"min": -1.0, "max": 1.0, "default": 0.0}}},
        "seeds": {"tuning": range(2), "test": range(10, 13)},
        "budget": {"trials": 4, "steps_per_run": 600},
        "evaluation": {"points": 2},
        "optimizer": {"name": "random"},
        "execution": {"executor": "inline", "workers": 1},
        "storage": f"sqlite:///{folder}/walk.db",
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> autorl.Study:
    return autorl.tune(small(tmp_path_factory.mktemp("api")), progress=False)


def told(*words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_it_says_what_the_command_line_says(study: autorl.Study) -> None:
    best, report = (told(name, "small", "--storage", study.storage) for name in ("best", "report"))
    assert study.state == "finished"
    assert study.best == best["params"]
    assert study.headline is not None
    assert study.headline.tuned.value == report["headline"]["tuned"]["value"]


def test_tables_hold_every_trial_run_and_evaluation(study: autorl.Study) -> None:
    listed = told("trials", "small", "--storage", study.storage)
    trials, runs, curves = study.trials(), study.runs(), study.curves()
    assert {row["trial"]: row["value"] for row in listed} == pytest.approx(trials["tuning"].to_dict(), nan_ok=True)
    assert len(runs) == sum(len(own) for own in study.findings.runs.values())
    last = curves.groupby(["trial", "phase", "seed"])["return"].last()
    scored = runs.set_index(["trial", "phase", "seed"])["score"]
    assert last.to_dict() == pytest.approx(scored.to_dict())


def test_a_notebook_shows_the_report_and_its_figures(study: autorl.Study) -> None:
    assert study._repr_html_().startswith('<iframe srcdoc="&lt;!DOCTYPE html')
    figures = study.figures()
    assert all("<svg" in figure._repr_html_() for figure in figures if figure.svg)
    assert "mean return on 3 test seeds, never used in tuning" in study.report()
    assert max(map(len, study.report().splitlines())) <= 100
    assert figures._repr_html_() == "".join(figure._repr_html_() for figure in figures)
    assert max(map(len, map(repr, figures))) < 1_000  # where nothing displays them
    assert autorl.compare(study, study)._repr_html_().startswith("<pre>")


def test_it_exports_and_compares(study: autorl.Study, tmp_path: Path) -> None:
    assert "PPO(" in study.export()
    assert "PPO" in study.export("sb3", trial=0)
    with pytest.raises(AutorlError, match="no trial 99"):
        study.export(trial=99)
    study.export_model(tmp_path / "model", trial=0)
    assert (tmp_path / "model" / "model.zip").is_file()
    assert [side.found.study.name for side in autorl.compare(study, study).sides] == ["small", "small"]


def test_more_trials_are_tested_on_demand(tmp_path: Path) -> None:
    study = autorl.tune(walk(tmp_path), progress=False)
    untested = int(study.trials().query("test.isna()").index[0])
    seen: list[int] = []
    again = study.test(untested, progress=lambda progress: seen.append(progress.env_steps))
    assert again.trials()["test"].notna()[untested]
    assert seen
    best = again.test(progress=False)
    assert best.trials()["test"].notna()[[trial.number for trial in best.findings.ranked[:5]]].all()


def test_a_finished_study_is_not_trained_again(tmp_path: Path) -> None:
    first = autorl.tune(walk(tmp_path), progress=False)
    again = autorl.tune(walk(tmp_path), progress=False)
    assert first.runs().equals(again.runs())
    more = autorl.tune(walk(tmp_path), {"budget.trials": 6, "study": "more"}, progress=False)
    assert more.name == "more"
    assert len(more.trials()) > len(first.trials())
    assert autorl.validate(walk(tmp_path), {"seeds.tuning": range(3)}).seeds.tuning == (0, 1, 2)


def test_metrics_may_be_called_what_columns_are_called(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(
        "def train(config, seed, budget, report):\n"
        "    for steps in budget.points:\n"
        "        names = ('trial', 'seed', 'run_id', 'place', 'wall_seconds', 'point')\n"
        "        report(steps, {'return': config['drift'], **dict.fromkeys(names, 7.5)})\n"
    )
    asked = walk(tmp_path) | {"program": {"function": "loop:train", "folder": tmp_path}}
    study = autorl.tune(asked, progress=False)
    curves, runs = study.curves(), study.runs()
    assert set(curves["seed"]) == set(runs["seed"])
    assert set(curves["trial"]) == set(runs["trial"])
    assert set(curves["place"]) == {7.5}
    archive, elsewhere = tmp_path / "walk.zip", f"sqlite:///{tmp_path}/elsewhere.db"
    assert CliRunner().invoke(app, ["dump", "walk", str(archive), "--storage", study.storage]).exit_code == 0
    loaded = CliRunner().invoke(app, ["load", str(archive), "--storage", elsewhere])
    assert loaded.exit_code == 0, loaded.output
    assert autorl.load(elsewhere).curves().equals(curves)


def test_parameters_may_be_called_what_columns_are_called(tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text("def train(config, seed, budget, report):\n    return config['state']\n")
    space = {"parameters": {"state": {"min": 0.0, "max": 1.0, "default": 0.5}}}
    asked = walk(tmp_path) | {"program": {"function": "named:train", "folder": tmp_path}, "search_space": space}
    trials = autorl.tune(asked, {"evaluation.points": 1}, progress=False).trials()
    assert set(trials["state"]) == {"completed"}
    assert trials["config.state"].to_dict() == trials["tuning"].to_dict()


def test_ctrl_c_stops_as_on_the_command_line(tmp_path: Path) -> None:
    sent: list[int] = []

    def interrupt(progress: Any) -> None:
        if progress.env_steps and not sent:
            sent.append(progress.env_steps)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        autorl.tune(walk(tmp_path), progress=interrupt)
    stopped = autorl.load(f"sqlite:///{tmp_path}/walk.db")
    assert stopped.state == "tuning"
    with Reader(stopped.storage) as reader:
        assert reader.events("walk", "stopped")  # drained, not torn off
    key = ["trial", "phase", "seed"]
    done = stopped.runs().query("state == 'completed'").set_index(key)
    again = autorl.tune(walk(tmp_path), progress=False)
    assert again.state == "finished"
    assert len(done) > 0
    assert again.runs().set_index(key).loc[done.index].equals(done)


def test_a_study_travels_as_a_file(study: autorl.Study, tmp_path: Path) -> None:
    study.dump(tmp_path / "small.zip")
    there = autorl.unpack(tmp_path / "small.zip", f"sqlite:///{tmp_path}/there.db")
    assert there.report() == study.report().replace(study.storage, there.storage)
    assert there.checklist() == study.checklist()
    with pytest.raises(StorageError):
        autorl.unpack(tmp_path / "small.zip", there.storage)  # it is there


def test_mistakes_are_found_without_training(tmp_path: Path) -> None:
    assert autorl.validate(walk(tmp_path)).budget.trials == 4
    with pytest.raises(SpecError, match="unknown key; did you mean 'budget'"):
        autorl.validate({**walk(tmp_path), "budgte": {}})


def test_runs_are_mirrored(study: autorl.Study, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="extra 'tracking' is not installed")
    assert study.track("tensorboard", str(tmp_path)) == len(study.runs())
    assert study.track("tensorboard", str(tmp_path)) == 0
    with pytest.raises(AutorlError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        study.track("tensorbord", str(tmp_path))


def test_a_function_is_passed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import trainers  # type: ignore[import-not-found]

    named = autorl.tune(walk(tmp_path, trainers.walk), progress=False)
    assert named.spec.program is not None
    assert named.spec.program.function == "trainers:walk"
    with pytest.raises(AutorlError, match="put it into a file"):
        autorl.tune(walk(tmp_path, lambda config, seed, budget, report: 1.0), progress=False)


def test_what_was_validated_is_tuned(tmp_path: Path) -> None:
    given = autorl.validate(walk(tmp_path), {"seeds.test": np.arange(10, 12)})
    assert given.seeds.test == (10, 11)
    again = autorl.validate(given, {"budget.trials": 2})
    assert again == given.model_copy(update={"budget": again.budget})
    assert len(autorl.tune(again, progress=False).trials()) == 2


@pytest.mark.parametrize("name", some(STUDIES, "steps-curriculum", "cartpole-ppo", "lunarlander-speed"))
def test_what_is_written_is_the_study(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)  # paths within a file are relative to it, and absolute in what is written
    read = autorl.validate(SHIPPED / f"{name}.yaml")
    assert autorl.validate(read.written()) == autorl.validate(read) == read


def test_a_function_is_where_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package := tmp_path / "mine").mkdir()
    (package / "__init__.py").write_text(
        "import contextlib\n\n@contextlib.contextmanager\ndef held():\n    yield\n\n"
        "@held()\ndef train(config, seed, budget, report):\n    return 1.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "other.py").write_text(
        "import functools\nfrom mine import train as plain\n\n@functools.wraps(plain)\ndef train(**given):\n"
        "    return plain(**given) + 1.0\n"
    )
    import mine  # type: ignore[import-not-found]
    import other  # type: ignore[import-not-found]

    with pytest.raises(AutorlError, match="put it into a file"):  # under its name another function would train
        autorl.validate(walk(tmp_path, other.train))

    for given, overrides in ((walk(tmp_path, mine.train), {}), (walk(tmp_path), {"program.function": mine.train})):
        given["program"].pop("folder")
        program = autorl.validate(given, overrides).program
        assert program is not None
        assert (program.function, program.folder) == ("mine:train", str(tmp_path))


def test_a_script_that_tunes_when_it_is_imported_is_told_so(tmp_path: Path) -> None:
    study = {**walk(tmp_path), "program": None, "seeds": {"tuning": [0], "test": [10, 11]}, "evaluation": {"points": 1}}
    text = "import autorl\n\ndef train(config, seed, budget, report):\n    return 1.0\n\n"
    text += f"autorl.tune({study!r} | {{'program': {{'function': train}}}}, progress=False)\n"
    (tmp_path / "script.py").write_text(text)
    run = [sys.executable, "script.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "put what it does under if __name__ == '__main__'" in done.stderr
    assert not (tmp_path / "walk.db").exists()
    (tmp_path / "script.py").write_text(text.replace("autorl.tune", 'if __name__ == "__main__":\n    autorl.tune'))
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert autorl.load(f"sqlite:///{tmp_path}/walk.db").state == "finished"


def test_mistakes_and_absent_studies_are_said_at_once(tmp_path: Path, study: autorl.Study) -> None:
    with pytest.raises(SpecError) as error:
        autorl.tune({**walk(tmp_path), "budgte": {}, "seeds": {"tuning": [0, 0], "test": [1]}})
    assert "study: budgte: unknown key; did you mean 'budget'?" in str(error.value)
    assert "seed 0 is named twice" in str(error.value)
    with pytest.raises(StorageError, match="did you mean 'small'"):
        autorl.load(study.storage, "smal")
    assert autorl.load(study.storage).name == "small"


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import autorl, sys; print([m for m in ('torch', 'optuna', 'pandas', 'sqlalchemy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
