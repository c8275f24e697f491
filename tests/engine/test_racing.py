"""Studies whose trials are continued: what it costs, what is kept, and that nothing depends on interruptions."""

from __future__ import annotations

from pathlib import Path

import databases
import optuna
import pytest
from landscapes import write_landscape
from quickly import some
from small_study import ignore, load

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.engine.progress import Progress
from autorl.engine.proposals import replay
from autorl.errors import SpecError
from autorl.ledger.digest import digest
from autorl.ledger.maintenance import check as check_storage
from autorl.ledger.reader import Reader
from autorl.report.findings import Findings, gather
from autorl.report.sentences import sentences
from autorl.spec.load import draft_study
from autorl.spec.study import StudySpec

RACE = ("optimizer={name: race, seed: 1}", "budget.trials=14", "evaluation.points=4")


def findings(spec: StudySpec) -> Findings:
    with Reader(spec.storage) as reader:
        return gather(reader, spec.study)


def tuning_steps(found: Findings) -> int:
    return sum(run.env_steps for runs in found.runs.values() for run in runs if run.phase == "tuning")


def test_a_race_spends_the_budget_on_more_trials_and_trains_the_best_further(tmp_path: Path) -> None:
    spec = load(tmp_path, *RACE)
    assert conduct(spec, ignore)
    found = findings(spec)
    assert found.study.state == "finished"
    assert found.study.ended is not None
    assert len(found.trials) > 14
    assert spec.tuning_steps is not None
    assert 0.8 * spec.tuning_steps < tuning_steps(found) <= spec.tuning_steps
    assert {trial.state for trial in found.trials} == {"pruned", "completed"}
    assert {(t.env_steps, t.seeds) for t in found.trials} == {(64, 1), (128, 1), (128, 2)}
    assert found.trials[0].origin == "default"
    best = found.incumbent
    assert best is not None
    assert best.posterior is not None
    assert best.posterior.low <= best.posterior.mean <= best.posterior.high
    assert "was expected of it, with a 90% interval of" in " ".join(sentences(found))
    assert not list((tmp_path / "study.files").rglob("*.checkpoint"))
    (database,) = check_storage(spec.storage)[1]
    assert database.problems == ()
    study = optuna.load_study(study_name="small", storage=spec.storage)
    assert study.best_trial.number == best.number
    assert study.best_value == best.posterior.mean


METHODS = {
    "race": RACE,
    "asha": ("optimizer={name: asha, seed: 1, seeds: 1, min_fraction: 0.25}", "evaluation.points=4"),
    "hyperband": ("optimizer={name: hyperband, seed: 1, seeds: 1, min_fraction: 0.25}", "evaluation.points=4"),
    "pruned TPE": ("optimizer={name: tpe, seed: 1, seeds: 1, pruner: {name: median}}", "evaluation.points=4"),
    "SMAC": ("optimizer={name: smac, seed: 1}",),
}


@pytest.mark.parametrize("method", some(METHODS, "race"))
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(method: str, tmp_path: Path) -> None:
    (whole := tmp_path / "whole").mkdir()
    (cut := tmp_path / "cut").mkdir()
    overrides = (*METHODS[method], "optimizer.max_pending=1")
    conduct(load(whole, *overrides), ignore)
    expected = findings(load(whole, *overrides))
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked % 7 == 0

    spec = load(cut, *overrides)
    parts = 1
    while not conduct(spec, ignore, stopping):
        parts += 1
    assert parts > 2
    found = findings(spec)
    with Reader(load(whole, *overrides).storage) as a, Reader(spec.storage) as b:
        assert a.proposals("small") == b.proposals("small")
        assert digest(a, "small") == digest(b, "small")
        assert all(same for _, same in replay(b, b.study("small").spec))
    assert tuning_steps(found) == tuning_steps(expected)


def test_known_configurations_are_tried_first(tmp_path: Path) -> None:
    (old := tmp_path / "old").mkdir()
    (new := tmp_path / "new").mkdir()
    earlier = load(old, "budget.trials=4")
    conduct(earlier, ignore)
    spec = load(
        new,
        "optimizer.enqueue=[{learning_rate: 0.02, vf_clip: true, clip_range_vf: 0.3}, {batch_size: 8}]",
        f"optimizer.transfer={{study: small, storage: '{earlier.storage}', top: 2}}",
    )
    conduct(spec, ignore)
    trials = findings(spec).trials
    # The earlier study's best two; where the default is one of them it has been tried already.
    best = [trial.config.values for trial in findings(earlier).ranked[:2] if trial.number]
    origins = ["default", "enqueued", "enqueued", *["transferred"] * len(best)]
    assert [t.origin for t in trials] == [*origins, *["optimizer"] * (6 - len(origins))]
    assert trials[1].config.values["clip_range_vf"] == 0.3
    assert trials[2].config.values == {**trials[0].config.values, "batch_size": 8}
    assert [t.config.values for t in trials[3 : 3 + len(best)]] == best
    Path(earlier.storage.removeprefix("sqlite:///")).unlink()
    longer = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 8})})
    conduct(longer, ignore)  # the earlier study is read for the first trials only
    assert len(findings(longer).trials) == 8


@pytest.mark.parametrize(
    ("enqueue", "message"),
    [
        ("[{learning_rat: 1}]", "the search space has no parameter 'learning_rat'; did you mean 'learning_rate'"),
        ("[{clip_range_vf: 0.5}]", "clip_range_vf is not active in this configuration"),
        ("[{vf_clip: maybe}]", "'maybe' is not one of"),
    ],
)
def test_what_cannot_be_enqueued_is_refused(enqueue: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load(tmp_path, f"optimizer.enqueue={enqueue}")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("budget.target=-1000", "reached the target of -1000"),
        pytest.param("budget.gain=1000", "as much training again is expected to gain", marks=pytest.mark.slow),
        ("budget.seconds=0.001", "its 0.001 seconds are over"),
    ],
)
def test_tuning_ends_early_and_says_why(limit: str, reason: str, tmp_path: Path) -> None:
    spec = load(tmp_path, limit, "budget.trials=40", "seeds.validation=[]", "seeds.test=[20]")
    conduct(spec, ignore)
    found = findings(spec)
    assert found.study.ended is not None
    assert reason in found.study.ended
    assert len(found.trials) < 40
    assert any(reason in sentence for sentence in sentences(found))
    conduct(spec, ignore)  # the reason is kept: nothing is added
    assert len(findings(spec).trials) == len(found.trials)
    databases.execute(spec.storage, "UPDATE autorl_study SET state = 'tuning', ended = NULL")
    conduct(spec, ignore)  # nor where it is not: the limit is still reached
    assert len(findings(spec).trials) == len(found.trials)


def test_only_time_may_limit_a_study(tmp_path: Path) -> None:
    spec = load(tmp_path, "budget={steps_per_run: 128, seconds: 5}", "seeds.validation=[]", "seeds.test=[20]")
    seen: list[Progress] = []
    conduct(spec, seen.append)
    found = findings(spec)
    assert found.study.state == "finished"
    assert found.study.tuning_seconds >= 5
    assert len(found.trials) > 1


LANDSCAPE = """\
study: table
task: {{env: table.npz}}
algorithm: {{backend: landscape, name: ppo}}
search_space:
  parameters:
    learning_rate: {{min: 1e-5, max: 1e-1, log: true}}
    batch_size: {{values: [32, 64, 128]}}
seeds: {{tuning: 0:3, test: 4:6}}
budget: {{trials: 12, steps_per_run: 600}}
evaluation: {{points: 6, episodes: 1}}
optimizer: {{name: {optimizer}, seed: 0}}
execution: {{executor: inline}}
storage: sqlite:///{folder}/table.db
"""


@pytest.mark.parametrize("optimizer", ["random", "tpe", "race"])
def test_a_study_on_a_landscape_is_an_ordinary_study(optimizer: str, tmp_path: Path) -> None:
    write_landscape(tmp_path / "table.npz")
    file = tmp_path / "table.yaml"
    file.write_text(LANDSCAPE.format(optimizer=optimizer, folder=tmp_path))
    spec = check(draft_study(file, []))
    assert conduct(spec, ignore)
    found = findings(spec)
    assert found.headline is not None
    used = [tuple(sorted(t.config.values.items())) for t in found.trials]
    assert len(set(used)) == len(used)
    assert tuning_steps(found) <= 12 * 3 * 600
