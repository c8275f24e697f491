"""Studies side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from states import make

from autorl.analysis import difference, probability_better
from autorl.errors import AutorlError
from autorl.ledger.reader import Reader
from autorl.report.compare import compare, leaders, sentences
from autorl.report.findings import Findings, gather


def findings(state: str, folder: Path, *overrides: str) -> Findings:
    folder.mkdir()
    with Reader(make(state, folder, *overrides).storage) as reader:
        return gather(reader, "small")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Findings, Findings]:
    first = findings("default_won", tmp_path / "a", "seeds.validation=[]")
    second = findings("finished", tmp_path / "b")
    return first, replace(second, study=replace(second.study, name="other"))


def test_each_is_compared_with_the_first(pair: tuple[Findings, Findings]) -> None:
    found = compare(pair)
    assert [side.found.study.name for side in found.sides] == ["small", "other"]
    assert len(found.pairs) == 1
    # The winners' test scores: trial 1 of the second, the default of the first.
    theirs, ours = [0.5, 0.55, 0.75], [0.9, 0.8, 0.85]
    assert found.pairs[0].difference == difference(theirs, ours)
    assert found.pairs[0].better == probability_better(theirs, ours)
    assert "the winner of other is 0.25 worse than that of small" in sentences(found)[0]


def test_where_less_is_better_the_difference_turns(tmp_path: Path) -> None:
    goal = "objectives=[{metric: return, direction: minimize}]"
    first = findings("default_won", tmp_path / "a", "seeds.validation=[]", goal)
    second = findings("finished", tmp_path / "b", goal)
    found = compare([first, second])
    assert found.pairs[0].difference.value == pytest.approx(0.25)
    assert found.pairs[0].better.value == 1.0


def test_budgets_are_made_equal(pair: tuple[Findings, Findings]) -> None:
    found = compare(pair)
    # 2 trials on 2 seeds of 128 steps in the first; in the second 3 such trials and 2 runs that failed after 40.
    assert found.budget == 4 * 128
    assert found.sides[0].at_equal_budget is not None
    assert found.sides[0].at_equal_budget.trial.number == 0
    assert found.sides[1].at_equal_budget is not None
    assert found.sides[1].at_equal_budget.env_steps <= found.budget
    assert any("spent different amounts" in caution for caution in found.cautions)


def test_the_lead_changes_when_a_better_trial_has_finished(pair: tuple[Findings, Findings]) -> None:
    lead = leaders(pair[1])
    assert [milestone.trial.number for milestone in lead] == [0, 1]
    assert [milestone.env_steps for milestone in lead] == [256, 512]


def test_what_differs_is_said(pair: tuple[Findings, Findings]) -> None:
    first, second = pair
    task = second.spec.task.model_copy(update={"env": "CartPole-v1"})
    seeds = second.spec.seeds.model_copy(update={"test": (0, 1, 2)})
    spec = second.spec.model_copy(update={"task": task, "seeds": seeds})
    said = compare([first, replace(second, study=replace(second.study, spec=spec))]).cautions
    assert any("their tasks differ" in caution for caution in said)
    assert any("test on seeds that the other one tuned on (2 of them)" in caution for caution in said)


def test_every_two_studies_are_looked_at(pair: tuple[Findings, Findings], tmp_path: Path) -> None:
    first, second = pair
    seeds = second.spec.seeds.model_copy(update={"tuning": first.spec.seeds.test})
    spec = second.spec.model_copy(update={"seeds": seeds})
    last = replace(second, study=replace(second.study, name="last", spec=spec))
    said = compare([first, second, last]).cautions
    assert any("small and last test on seeds that the other one tuned on" in caution for caution in said)
    assert any("other and last" in caution for caution in said)


def test_other_settings_of_the_task_and_its_evaluation_are_said(pair: tuple[Findings, Findings]) -> None:
    first, second = pair
    assert not any("differ" in caution and "task" in caution for caution in compare(pair).cautions)
    task = second.spec.task.model_copy(update={"env_kwargs": {"rounds": 2}})
    evaluation = second.spec.evaluation.model_copy(update={"episodes": 1})
    spec = second.spec.model_copy(update={"task": task, "evaluation": evaluation})
    said = compare([first, replace(second, study=replace(second.study, spec=spec))]).cautions
    assert any("settings of the task differ" in caution for caution in said)
    assert any("evaluated differently" in caution for caution in said)


def test_objectives_must_be_the_same(pair: tuple[Findings, Findings], tmp_path: Path) -> None:
    other = findings("finished", tmp_path / "c", "objectives=[{metric: return, over_seeds: median}]")
    with pytest.raises(AutorlError, match="different objectives"):
        compare([pair[0], other])
    with pytest.raises(AutorlError, match="at least two"):
        compare(pair[:1])


def test_an_unfinished_study_has_no_test_score(pair: tuple[Findings, Findings], tmp_path: Path) -> None:
    found = compare([pair[1], findings("tuning", tmp_path / "d")])
    assert found.pairs == ()
    assert "without a test score: small" in found.cautions
    assert found.to_dict()["studies"][1]["test"] is None
