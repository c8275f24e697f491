"""A study from its file to its headline: what is trained, on which seeds, in which order, and what is chosen."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import optuna
import pytest
from small_study import ignore, kwargs, load

from autorl.analysis import aggregate
from autorl.engine.conductor import conduct, retest
from autorl.engine.plan import default_configuration, max_pending
from autorl.engine.progress import Progress
from autorl.engine.proposals import Outcome, Proposer, replay
from autorl.engine.selection import choose, rank
from autorl.errors import StorageError
from autorl.ledger.book import Book
from autorl.ledger.reader import Reader
from autorl.ledger.records import TrialRecord
from autorl.report.findings import Findings, gather
from autorl.spec.objectives import ObjectiveSpec
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.training.sb3 import Sb3Backend


def findings(spec: StudySpec) -> Findings:
    with Reader(spec.storage) as reader:
        return gather(reader, spec.study)


def configurations(found: Findings) -> list[str]:
    return [json.dumps([dict(t.config.values), dict(t.config.coordinates)], sort_keys=True) for t in found.trials]


def test_a_study_runs_to_its_headline(tmp_path: Path) -> None:
    spec, seen = load(tmp_path), list[Progress]()
    conduct(spec, seen.append)
    found = findings(spec)
    assert found.study.state == "finished"
    assert not found.study.live
    assert [t.number for t in found.trials] == [0, 1, 2, 3, 4, 5]
    assert found.trials[0].origin == "default"
    assert found.trials[0].config.values["learning_rate"] == 3e-4
    assert found.trials[0].config.values["batch_size"] == 64
    for trial in found.trials:
        scores = found.scores(trial.number, "tuning")
        assert len(scores) == 2
        assert trial.value == aggregate(scores, "mean")
    best = found.ranked
    phases = Counter((run.trial, run.phase) for runs in found.runs.values() for run in runs)
    assert {t for t, phase in phases if phase == "validation"} == {best[0].number, best[1].number}
    assert found.winner is not None
    assert {t for t, phase in phases if phase == "test"} == {0, found.winner.number}
    assert set(phases.values()) == {2, 3}
    assert all(run.attempts == 1 and run.env_steps == 128 for runs in found.runs.values() for run in runs)
    headline = found.headline
    assert headline is not None
    assert headline.tuned.value == aggregate(found.scores(found.winner.number, "test"), "mean")
    assert seen[-1].phase == "finished"
    assert seen[-1].env_steps == 128 * seen[-1].runs
    assert optuna.load_study(study_name="small", storage=spec.storage).best_params == dict(best[0].config.values)
    assert not list((tmp_path / "study.files").rglob("*.*"))


def test_seeds_of_the_phases_stay_apart(tmp_path: Path) -> None:
    spec = load(tmp_path, "budget.trials=3")
    conduct(spec, ignore)
    seeds = {
        phase: {run.seed for runs in findings(spec).runs.values() for run in runs if run.phase == phase}
        for phase in ("tuning", "validation", "test")
    }
    assert seeds == {"tuning": {0, 1}, "validation": {10, 11}, "test": {20, 21, 22}}


def test_processes_and_inline_find_the_same(tmp_path: Path) -> None:
    found = []
    for executor, workers in (("inline", 1), ("processes", 2)):
        (folder := tmp_path / executor).mkdir()
        spec = load(
            folder,
            f"execution.executor={executor}",
            f"execution.workers={workers}",
            "optimizer.name=tpe",
            "optimizer.max_pending=1",
        )
        conduct(spec, ignore)
        found.append(findings(spec))
    assert configurations(found[0]) == configurations(found[1])
    assert [t.value for t in found[0].trials] == [t.value for t in found[1].trials]
    assert found[0].headline == found[1].headline


def test_the_second_time_nothing_is_trained(tmp_path: Path) -> None:
    spec = load(tmp_path)
    conduct(spec, ignore)
    before = findings(spec)
    conduct(spec, ignore)
    after = findings(spec)
    assert (after.runs, after.trials, after.study.finished_at) == (before.runs, before.trials, before.study.finished_at)


def test_more_trials_go_on_where_a_longer_study_would_be(tmp_path: Path) -> None:
    (short := tmp_path / "short").mkdir()
    (long := tmp_path / "long").mkdir()
    asked = ("optimizer.name=tpe", "seeds={tuning: 0:1, validation: 10:11, test: 20:21}")
    conduct(load(short, "budget.trials=4", *asked), ignore)
    conduct(load(short, "budget.trials=7", *asked), ignore)
    conduct(load(long, "budget.trials=7", *asked), ignore)
    a, b = findings(load(short)), findings(load(long))
    assert configurations(a) == configurations(b)
    assert a.winner is not None
    assert b.winner is not None
    assert a.winner.number == b.winner.number


def test_an_extension_that_came_to_nothing_is_not_forgotten(tmp_path: Path) -> None:
    spec = load(tmp_path, "budget.trials=2")
    conduct(spec, ignore)
    longer = load(tmp_path, "budget.trials=3")
    Book(longer, 1, print).__exit__()  # whatever stops the engine before it has proposed anything
    assert findings(longer).study.state == "tuning"
    conduct(longer, ignore)
    assert len(findings(longer).trials) == 3


@pytest.mark.parametrize("optimizer", ["race", "pbt"])
def test_what_went_on_with_a_larger_budget_can_be_proposed_again(optimizer: str, tmp_path: Path) -> None:
    asked = (f"optimizer={{name: {optimizer}, seed: 1}}", "seeds={tuning: 0:2, test: 20:21}")
    for trials in (4, 7, 9):
        spec = load(tmp_path, f"budget.trials={trials}", *asked)
        conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        again = [same for _, same in replay(reader, reader.study(spec.study).spec)]
    assert again == [True] * len(again)
    assert len(again) >= 9


def test_a_study_without_a_winner_finishes(tmp_path: Path) -> None:
    spec = load(tmp_path, "task.env=probe_envs:autorl-tests/Broken-v0", kwargs(how="raise"), "budget.trials=2")
    conduct(spec, ignore)
    found = findings(spec)
    assert found.study.state == "finished"
    assert found.winner is None
    assert found.headline is None
    assert {t.state for t in found.trials} == {"failed"}
    assert len(found.failed) == 4


@pytest.mark.parametrize(("direction", "worst"), [("maximize", 1.0), ("minimize", 4.0)])
def test_what_diverges_is_told_as_the_worst_so_far(direction: str, worst: float, tmp_path: Path) -> None:
    objective = f"objectives=[{{direction: {direction}}}]"
    spec = load(tmp_path, "optimizer.name=tpe", "optimizer.max_pending=0", "budget.trials=9", objective)
    first = [("default", default_configuration(spec, Sb3Backend()))]
    proposer = Proposer(spec, lambda: first, lambda config, taken: config, lambda trial, seed: ())
    told = []
    for value, diverged in ((None, True), (4.0, False), (None, True), (1.0, False), (None, True), (None, False)):
        proposed = proposer.propose()
        assert proposed is not None
        told.append(dict(proposed.record.told))
        proposer.finish(proposed.record.number, Outcome(value, () if value else (0,), diverged))
    last = proposer.propose()
    assert last is not None
    values = [{number: one.value for number, one in known.items()} for known in [*told, last.record.told]]
    assert values == [{}, {0: None}, {1: 4.0}, {2: 4.0}, {3: 1.0}, {4: worst}, {5: None}]


def test_any_study_can_be_proposed_again(tmp_path: Path) -> None:
    spec = load(
        tmp_path, "optimizer.name=tpe", "budget.trials=14", "execution.executor=processes", "execution.workers=2"
    )
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        assert {i for proposal in reader.proposals("small") for i in proposal.told} >= set(range(12))
        held = reader.study("small").spec
        assert [same for _, same in replay(reader, held)] == [True] * 14
        other = held.model_copy(update={"optimizer": held.optimizer.model_copy(update={"seed": 2})})
        assert not all(same for _, same in replay(reader, other))


def test_without_validation_seeds_tuning_data_chooses(tmp_path: Path) -> None:
    spec = load(tmp_path, "seeds.validation=[]", "budget.trials=4")
    conduct(spec, ignore)
    found = findings(spec)
    assert found.winner == found.incumbent


def test_retest_adds_test_runs_only(tmp_path: Path) -> None:
    spec = load(tmp_path, "budget.trials=4")
    with pytest.raises(StorageError, match=r"no database|not finished"):
        retest(spec, [1], ignore)
    conduct(spec, ignore)
    retest(spec, [1, 2, 1], ignore)
    found = findings(spec)
    tested = [run for runs in found.runs.values() for run in runs if run.phase == "test"]
    assert {1, 2} <= {run.trial for run in tested}
    assert {(run.state, run.attempts) for run in tested} == {("completed", 1)}
    with pytest.raises(StorageError, match="has no trial 99; its trials are 0 to 3"):
        retest(spec, [99], ignore)


def test_conditions_and_switches_reach_training(tmp_path: Path) -> None:
    spec = load(tmp_path, "budget.trials=12", "seeds={tuning: 0:1, test: 20:21}")
    conduct(spec, ignore)
    trials = findings(spec).trials
    assert {t.config.values["vf_clip"] for t in trials} == {True, False}
    for trial in trials:
        assert "vf_clip" not in trial.recipe.hyperparameters
        assert ("clip_range_vf" in trial.recipe.hyperparameters) == trial.config.values["vf_clip"]


def test_pending_keeps_workers_busy_and_no_more(tmp_path: Path) -> None:
    seeds = ("seeds.tuning=0:2", "seeds.validation=[]")
    for workers, pending in ((1, 0), (2, 1), (3, 2), (4, 2), (16, 8)):
        assert max_pending(load(tmp_path, *seeds, f"execution.workers={workers}"), 1) == pending


def record(number: int, value: float | None) -> TrialRecord:
    config = Configuration({})
    return TrialRecord(number, "optimizer", config, None, 0.0, None, "completed", value, 100, 2)  # type: ignore[arg-type]


def test_the_earlier_of_equals_wins() -> None:
    trials = [record(0, 1.0), record(1, 2.0), record(2, 2.0), record(3, None)]
    assert [t.number for t in rank(trials, "maximize")] == [1, 2, 0]
    assert [t.number for t in rank(trials, "minimize")] == [0, 1, 2]


def test_validation_chooses_and_a_failed_candidate_cannot_win() -> None:
    candidates = rank([record(0, 1.0), record(1, 2.0), record(2, 3.0)], "maximize")
    objective = ObjectiveSpec()
    assert choose(candidates, {0: [5, 5], 1: [4, 4], 2: [1, 2]}, (0, 1), objective, {}) == 0
    assert choose(candidates, {0: [5], 1: [4, 4], 2: [4, 4]}, (0, 1), objective, {}) == 2
    assert choose(candidates, {0: [], 1: [], 2: []}, (0, 1), objective, {}) == 2
    assert (
        choose(
            candidates,
            {0: [5, 5], 1: [4, 4], 2: [1, 2]},
            (0, 1),
            objective.model_copy(update={"direction": "minimize"}),
            {},
        )
        == 2
    )
    assert choose([], {}, (0, 1), objective, {}) is None
