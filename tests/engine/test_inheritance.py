"""A study whose teacher begins with what an earlier study found has that for its own, whatever becomes of the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_study import ignore, load

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.engine.inheritance import inheriting
from autorl.errors import StorageError
from autorl.ledger.digest import digest
from autorl.ledger.maintenance import copy
from autorl.ledger.reader import Reader
from autorl.report.export import render
from autorl.report.findings import Findings, gather
from autorl.report.reproduce import resolved
from autorl.spec.load import draft_study
from autorl.spec.study import StudySpec
from autorl.spec.yaml12 import dump

LAKE = (
    "task={env: 'autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0', env_kwargs: {size: 5}, "
    "parameters: {distance: {min: 1, max: 8}}, target: {distance: 8}}"
)
SHORT = (
    LAKE,
    "algorithm.fixed={n_steps: 64, batch_size: 32, n_epochs: 1}",
    "search_space.parameters={curriculum.kind: {values: [alp_gmm, uniform]}}",
    "budget={trials: 1, steps_per_run: 128}",
    "evaluation={points: 2, episodes: 1}",
    "execution.workers=1",
)
TAUGHT = (
    "curriculum={kind: alp_gmm, fit_every: 5, window: 10}",
    "seeds={tuning: 0:2, test: 10:11}",
    "budget.steps_per_run=512",
)
AGAIN = (
    *SHORT,
    "study=later",
    "curriculum={kind: again, learned_from: small, fit_every: 5, window: 10}",
    "search_space.parameters.curriculum.kind={values: [again, none]}",
    "budget.trials=2",
    "optimizer.enqueue=[{curriculum.kind: none}]",
    "seeds={tuning: 5:6, test: 1:2}",
)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> StudySpec:
    spec = load(tmp_path_factory.mktemp("earlier"), *SHORT, *TAUGHT)
    conduct(spec, ignore)
    return spec


def later(folder: Path, earlier: StudySpec, *overrides: str) -> StudySpec:
    """Return a study beside a copy of the earlier one."""
    spec = load(folder, *AGAIN, *overrides)
    copy(earlier.storage, spec.storage, ["small"])
    return spec


@pytest.fixture(scope="module")
def whole(earlier: StudySpec, tmp_path_factory: pytest.TempPathFactory) -> StudySpec:
    """Return a study that learned from the earlier one, as its file has it; it is finished."""
    spec = later(tmp_path_factory.mktemp("later"), earlier)
    assert conduct(spec, ignore)
    return spec


def found(spec: StudySpec) -> str:
    with Reader(spec.storage) as reader:
        return digest(reader, "later")


def gathered(spec: StudySpec) -> Findings:
    with Reader(spec.storage) as reader:
        return gather(reader, "later")


def after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_what_was_learned_is_a_part_of_the_study(whole: StudySpec) -> None:
    study = gathered(whole)
    niches = study.spec.curriculum.options["niches"]
    assert [len(weights) for weights in niches["distance"]] == [8, 8]  # evaluations, and distances
    kinds = {trial.recipe.curriculum["kind"]: trial.recipe.curriculum for trial in study.trials}  # type: ignore[index]
    assert kinds["again"]["niches"] == niches
    assert "learned_from" not in kinds["again"]
    assert kinds["none"] == {"kind": "none"}


def test_the_same_file_goes_on_with_it(whole: StudySpec, earlier: StudySpec, tmp_path: Path) -> None:
    before = found(whole)
    assert conduct(whole, ignore)
    assert found(whole) == before
    assert all(run.attempts == 1 for runs in gathered(whole).runs.values() for run in runs)
    cut = later(tmp_path, earlier)
    assert not conduct(cut, ignore, after(2))
    moved = cut.model_copy(update={"storage": f"sqlite:///{tmp_path}/without_the_earlier.db"})
    copy(cut.storage, moved.storage, ["later"])
    assert conduct(moved, ignore)
    assert found(moved) == before
    with pytest.raises(StorageError, match=r"'later' exists in .* with another curriculum"):
        conduct(load(tmp_path, *AGAIN, "curriculum.learned_from=other"), ignore)


def test_what_a_report_and_an_export_hold_needs_no_earlier_study(whole: StudySpec, tmp_path: Path) -> None:
    study = gathered(whole)
    (tmp_path / "reported.yaml").write_text(dump(resolved(study)))
    repeated = check(draft_study(tmp_path / "reported.yaml", [f"storage=sqlite:///{tmp_path}/repeated.db"]))
    assert conduct(repeated, ignore)
    assert found(repeated) == found(whole)
    trial, niches = study.trials[0], study.spec.curriculum.options["niches"]
    script = render(study, trial, "sb3")
    assert f"niches={niches!r}" in script
    assert script.index("class AlpGmm(Teacher)") < script.index("class Again(AlpGmm)")
    assert yaml.safe_load(render(study, trial, "schedule"))["curriculum"]["niches"] == niches


def test_a_rollout_may_go_on_beyond_the_budget(tmp_path: Path) -> None:
    longer = ("algorithm.fixed={n_steps: 256, batch_size: 32, n_epochs: 1}", "budget.steps_per_run=300")
    spec = load(tmp_path, *SHORT, *TAUGHT, *longer, "evaluation.points=4", "seeds={tuning: 0:1, test: 10:11}")
    assert conduct(spec, ignore)
    taught = inheriting(load(tmp_path, *AGAIN))
    assert len(taught.curriculum.options["niches"]["distance"]) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("curriculum.learned_from=smal",), "holds no study 'smal'; did you mean 'small'"),
        (
            ("task.parameters.distance.max=7",),
            r"study 'small' has another task space: distance is {min: 1, max: 8} there, and {min: 1, max: 7} here",
        ),
        (
            ("task.parameters.distance={min: 1.0, max: 8.0}",),
            r"distance is {min: 1, max: 8} there, and {min: 1.0, max: 8.0} here",
        ),
        (
            ("task.parameters.render_mode={values: [null, ansi], through: attribute}", "task.target.render_mode=ansi"),
            "render_mode does not vary there",
        ),
        # The seeds of all runs of the earlier study.
        (("seeds={tuning: 30:31, test: [0, 1, 10]}",), "study 'small' has no whole run whose curriculum chose"),
    ],
)
def test_a_study_of_which_nothing_can_be_learned_is_refused(
    overrides: tuple[str, ...], message: str, earlier: StudySpec, tmp_path: Path
) -> None:
    spec = later(tmp_path, earlier, *overrides)
    with pytest.raises(StorageError, match=f"^curriculum.learned_from: .*{message}"):
        conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        assert [study.name for study in reader.studies()] == ["small"]
