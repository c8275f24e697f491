"""What every backend promises. A test module for a backend makes a class of its own from `BackendConformance`."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autorl.training.protocol import Backend, Interrupted, Job
from autorl.trial import Point, Recipe, RunResult


class RecordingHost:
    """Keeps what a backend tells it, its state in one file, and asks it to stop after so many saves."""

    def __init__(self, file: Path, stop_after: float = math.inf) -> None:
        self.file, self.stop_after = file, stop_after
        self.points: list[Point] = []
        self.steps: list[int] = []

    def evaluated(self, point: Point) -> None:
        self.points.append(point)

    def alive(self, env_steps: int) -> None:
        self.steps.append(env_steps)

    def save(self, env_steps: int, content: memoryview) -> None:
        self.file.write_bytes(content)

    def stopping(self) -> bool:
        return bool(self.steps) and self.steps[-1] >= self.stop_after


def train(
    backend: Backend, recipe: Recipe, file: Path, *, seed: int = 3, until: int | None = None, every: float = 1e9
) -> RunResult:
    """Train one seed, with the checkpoint in `file`."""
    return train_for(RecordingHost(file), backend, recipe, seed=seed, until=until, every=every)


def train_for(
    host: RecordingHost,
    backend: Backend,
    recipe: Recipe,
    *,
    seed: int = 3,
    until: int | None = None,
    every: float = 1e9,
) -> RunResult:
    """Train one seed, going on from the host's file if there is one."""
    resume = host.file if host.file.exists() else None
    (result,) = backend.train([Job(recipe, seed, until or recipe.env_steps, resume, every)], [host])
    return result


def learned(result: RunResult) -> list[tuple[int, dict[str, float]]]:
    """Return what of a result does not depend on the clock."""
    assert result.status == "completed", result.error
    return [(point.env_steps, dict(point.metrics)) for point in result.curve]


class BackendConformance:
    """Give `backend`, `recipe` (a cheap one) and `failing` (one whose environment raises) as fixtures."""

    def test_same_job_same_curve(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        assert learned(train(backend, recipe, tmp_path / "a")) == learned(train(backend, recipe, tmp_path / "b"))

    def test_another_seed_another_curve(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        assert learned(train(backend, recipe, tmp_path / "a", seed=3)) != learned(
            train(backend, recipe, tmp_path / "b", seed=4)
        )

    def test_evaluates_at_even_points_and_reports_each(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        host = RecordingHost(tmp_path / "a")
        result = train_for(host, backend, recipe)
        assert tuple(host.points) == result.curve
        assert host.steps
        assert host.steps == sorted(host.steps)
        assert host.steps[-1] <= result.env_steps
        asked = [round(recipe.env_steps * k / recipe.evaluation_points) for k in range(1, recipe.evaluation_points + 1)]
        reached = [point.env_steps for point in result.curve]
        assert len(reached) == len(asked)
        slack = recipe.hyperparameters.get("n_envs", 1)
        assert all(0 <= got - want < slack for want, got in zip(asked[:-1], reached[:-1], strict=True))
        assert result.env_steps == reached[-1] >= asked[-1]
        measured = set(result.curve[-1].metrics)
        assert set(backend.metrics) <= measured
        assert {name.split("/")[0] for name in measured} == set(backend.metrics)  # such as pass_at_1/sort/8

    def test_a_pause_leaves_the_curve_as_it_is(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        if not backend.resumable:
            pytest.skip("the backend does not claim to resume")
        whole = train(backend, recipe, tmp_path / "whole")
        part = train(backend, recipe, tmp_path / "parts", until=recipe.env_steps // 3)
        assert recipe.env_steps // 3 <= part.env_steps < recipe.env_steps
        rest = train(backend, recipe, tmp_path / "parts")
        assert learned(rest) == learned(whole)
        assert learned(part) == learned(whole)[: len(part.curve)]
        assert rest.notes == whole.notes

    def test_asked_to_stop_it_saves_and_goes_on_later(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        if not backend.resumable:
            pytest.skip("the backend does not claim to resume")
        whole = train(backend, recipe, tmp_path / "whole")
        with pytest.raises(Interrupted):
            train_for(RecordingHost(tmp_path / "parts", recipe.env_steps // 3), backend, recipe)
        assert learned(train(backend, recipe, tmp_path / "parts")) == learned(whole)

    def test_warming_changes_no_curve(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        cold = train(backend, recipe, tmp_path / "cold")
        backend.warm()
        assert learned(train(backend, recipe, tmp_path / "warm")) == learned(cold)

    def test_checkpoints_leave_the_curve_as_it_is(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        assert learned(train(backend, recipe, tmp_path / "a", every=0.0)) == learned(
            train(backend, recipe, tmp_path / "b")
        )

    def test_a_damaged_checkpoint_starts_anew_and_says_so(
        self, backend: Backend, recipe: Recipe, tmp_path: Path
    ) -> None:
        if not backend.resumable:
            pytest.skip("the backend does not claim to resume")
        whole = train(backend, recipe, tmp_path / "whole")
        train(backend, recipe, tmp_path / "damaged", until=recipe.env_steps // 3)
        content = (tmp_path / "damaged").read_bytes()
        (tmp_path / "damaged").write_bytes(content[: len(content) // 2])
        again = train(backend, recipe, tmp_path / "damaged")
        assert learned(again) == learned(whole)
        assert any("started anew" in note for note in again.notes)

    def test_a_checkpoint_of_another_configuration_is_not_used(
        self, backend: Backend, recipe: Recipe, tmp_path: Path
    ) -> None:
        if not backend.resumable:
            pytest.skip("the backend does not claim to resume")
        train(backend, recipe, tmp_path / "a", seed=4, until=recipe.env_steps // 3)
        again = train(backend, recipe, tmp_path / "a", seed=3)
        assert learned(again) == learned(train(backend, recipe, tmp_path / "b", seed=3))
        assert any("another configuration" in note for note in again.notes)

    def test_failure_is_a_result(self, backend: Backend, failing: Recipe, tmp_path: Path) -> None:
        result = train(backend, failing, tmp_path / "a")
        assert (result.status, result.error_class) == ("failed", "exception")
        assert result.error is not None
        assert "Traceback" in result.error

    def test_results_survive_json(self, backend: Backend, recipe: Recipe, tmp_path: Path) -> None:
        result = train(backend, recipe, tmp_path / "a")
        copy: dict[str, Any] = json.loads(json.dumps(result.to_dict()))
        assert RunResult.from_dict(copy) == result
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == replace(recipe)
