"""The backend `llm` keeps the promises of every backend, learns, and tells mistakes before anything trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance.backends import BackendConformance, RecordingHost, learned, train, train_for
from probe_tasks import Echo

from autorl.engine.check import check
from autorl.errors import SpecError
from autorl.spec.load import draft_study
from autorl.training.llm import LlmBackend
from autorl.training.llm.cache import cache_folder
from autorl.training.llm.learner import Counted, learning_rate
from autorl.training.llm.recipe import PRESETS, settings
from autorl.trial import Recipe, Start

TINY = {"prompts": 4, "rollouts": 4, "max_tokens": 6, "sft_steps": 6, "sft_batch": 8}
NET = {"width": 16, "layers": 1, "heads": 2, "context": 32}
ECHO = "probe_tasks:Echo"
BASE = Recipe("llm", "grpo", TINY, NET, ECHO, {}, (), 96, 3, 8, True)
EVERYTHING = {
    "dynamic_sampling": True,
    "overlong": "penalty",
    "group_filter": "best_worst",
    "divergence": "jensen_shannon",
    "entropy_coef": 1e-3,
    "temperature_end": 0.6,
    "lr_schedule": "linear",
    "epochs": 2,
    "lp_coef": 0.5,
    "teacher_coef": 0.1,
    "teacher_coef_end": 0.0,
    "teacher_on": "wrong",
    "teacher_steps": 6,
    "flaw_penalty": 0.5,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def backend() -> LlmBackend:
    return LlmBackend()


class TestLlm(BackendConformance):
    @pytest.fixture(params=PRESETS)
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        quick = {**TINY, "dynamic_sampling": False, "teacher_steps": 6}
        return replace(BASE, algorithm=request.param, hyperparameters=quick)

    @pytest.fixture
    def failing(self) -> Recipe:
        return replace(BASE, env_kwargs={"broken": "raises"})


@pytest.mark.parametrize("also", [{}, {"advantage_baseline": "critic", "advantage_scale": "batch"}, {"loss": "rover"}])
def test_every_switch_together_can_be_stopped_and_gone_on_with(
    backend: LlmBackend, tmp_path: Path, also: dict[str, Any]
) -> None:
    recipe = replace(BASE, hyperparameters={**TINY, **EVERYTHING, **also})
    whole = train(backend, recipe, tmp_path / "whole")
    train(backend, recipe, tmp_path / "parts", until=32)
    rest = train(backend, recipe, tmp_path / "parts")
    assert learned(rest) == learned(whole)
    assert whole.env_steps >= recipe.env_steps  # what was drawn again is counted
    assert rest.env_steps == whole.env_steps


@pytest.mark.parametrize("name", ["grpo", "ppo", "oreal", "pacs", "rover", "lp_reg", "kdrl", "grpo_roc", "fapo"])
def test_rl_unlearns_what_the_demonstrations_had_wrong(backend: LlmBackend, tmp_path: Path, name: str) -> None:
    """Half of the demonstrations show any digit, so that a model that has only imitated them is right in half."""
    settings = {"prompts": 16, "rollouts": 8, "max_tokens": 3, "learning_rate": 3e-3, "divergence": "none"}
    settings |= {"sft_steps": 600, "sft_batch": 32, "sft_noise": 0.5, "minibatches": 1}
    settings |= {"teacher_steps": 600, "advantage_scale": "batch", "teacher_on": "all"}
    recipe = replace(BASE, algorithm=name, hyperparameters=settings, env_steps=128 * 50)
    recipe = replace(recipe, evaluation_points=50, evaluation_episodes=40)
    right = [point.metrics["pass_at_1"] for point in train(backend, recipe, tmp_path / "a").curve]
    assert 0.3 < right[0] < 0.75
    assert right[-1] > 0.9


def test_asking_a_tool_is_learned(backend: LlmBackend, tmp_path: Path) -> None:
    """Two of five demonstrations guess; who asks is right, who guesses hardly ever."""
    settings = {"prompts": 16, "rollouts": 8, "max_tokens": 16, "learning_rate": 3e-3, "divergence": "none"}
    settings |= {"sft_steps": 800, "sft_batch": 32, "sft_noise": 0.2, "minibatches": 1, "warmup_steps": 0}
    net = {"width": 32, "layers": 2, "heads": 2, "context": 40}
    task = {"families": {"lookup": [2]}}
    recipe = Recipe("llm", "grpo", settings, net, "steps-tools", task, (), 128 * 25, 25, 30, True)
    right = [point.metrics["pass_at_1"] for point in train(backend, recipe, tmp_path / "a").curve]
    assert right[0] < 0.85
    assert min(right[-5:]) > 0.88


def test_a_reward_that_is_no_number_fails_the_run(backend: LlmBackend, tmp_path: Path) -> None:
    result = train(backend, replace(BASE, env_kwargs={"broken": "nan"}), tmp_path / "a")
    assert (result.status, result.error_class) == ("failed", "exception")
    assert "reward is nan" in str(result.error)


def test_a_learning_rate_that_breaks_the_model_has_diverged(backend: LlmBackend, tmp_path: Path) -> None:
    broken = {**TINY, "learning_rate": 1e30, "max_grad_norm": 1e30, "warmup_steps": 0, "weight_decay": 1e30}
    broken |= {"divergence": "none", "advantage_baseline": "none", "advantage_scale": "none", "entropy_coef": 1.0}
    result = train(backend, replace(BASE, hyperparameters=broken), tmp_path / "a")
    assert (result.status, result.error_class) == ("failed", "diverged"), result.error


def test_a_fork_goes_on_with_its_donors_model(backend: LlmBackend, tmp_path: Path) -> None:
    host = RecordingHost(tmp_path / "donor")
    donor = train_for(host, backend, BASE, until=32)
    other = replace(BASE, hyperparameters={**TINY, "learning_rate": 1e-3}, start=Start(BASE, 32))
    forked = train_for(host, backend, other)
    assert learned(forked)[:1] == learned(donor)
    assert learned(forked)[1:] != learned(train(backend, BASE, tmp_path / "alone"))[1:]
    assert forked.wall_seconds < forked.curve[-1].wall_seconds


def test_warm_up_and_evaluation_problems_are_made_once_and_damaged_ones_again(
    backend: LlmBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = replace(BASE, env="steps-easy", env_kwargs={})
    first = train(backend, recipe, tmp_path / "a")
    kept = [file for file in sorted(cache_folder().iterdir()) if not file.suffix]
    assert [file.name.rpartition("-")[0] for file in kept] == ["problems", "warm-up"]
    written = [file.stat().st_mtime_ns for file in kept]
    assert learned(train(backend, recipe, tmp_path / "b")) == learned(first)
    assert [file.stat().st_mtime_ns for file in kept] == written
    for file in kept:
        file.write_bytes(file.read_bytes()[:100])
    assert learned(train(backend, recipe, tmp_path / "c")) == learned(first)
    assert all(file.stat().st_mtime_ns > before for file, before in zip(kept, written, strict=True))


def test_a_task_that_has_changed_is_warmed_up_anew(
    backend: LlmBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def models() -> int:
        return len([file for file in cache_folder().glob("warm-up-*") if not file.suffix])

    for folder in ("a", "b"):
        train(backend, BASE, tmp_path / folder)
        assert models() == 1
    monkeypatch.setattr(Echo, "demonstration", lambda _self, problem, _rng, _noise: problem.answer[:1])
    train(backend, BASE, tmp_path / "c")
    assert models() == 2


def test_a_linear_learning_rate_is_as_long_as_the_run() -> None:
    own = settings("grpo", {"learning_rate": 1.0, "lr_schedule": "linear", "warmup_steps": 0})
    rates = [learning_rate(own, Counted(completions=before + 32), before, 96) for before in (0, 32, 64, 96)]
    assert rates == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0])


SECTIONS = """\
study: small
task: {env: steps}
algorithm: {backend: llm, name: grpo}
search_space: {parameters: {learning_rate: {min: 1e-5, max: 1e-2, log: true}}}
objectives: [{metric: pass_at_1}]
seeds: {tuning: 0:2, test: 50:52}
budget: {trials: 2, steps_per_run: 256}
"""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.env=stepps", "no task 'stepps'.*did you mean 'steps'"),
        ("task.env=no_such_module:Task", "cannot be made: ModuleNotFoundError"),
        ('task.env_kwargs={"families": {"sort": []}}', "levels of 'sort' are whole numbers"),
        ("objectives=[{metric: return}]", "unknown metric 'return'"),
        ("objectives=[{metric: pass_at_1/sort/7}]", "did you mean 'pass_at_1/sort/"),
        ("algorithm.engine=fast", "unknown engine 'fast'"),
        ("algorithm.name=grbo", "did you mean 'grpo'"),
        ("algorithm.fixed={loss: clop}", "unknown loss 'clop'"),
        ("algorithm.fixed={rollouts: 1}", "needs at least 2 rollouts"),
        ("task.env_kwargs={families: {sort: [1]}}", "levels of 'sort' are whole numbers of at least 2"),
        ("algorithm.fixed={advantage_baseline: critic}", "advantage_scale is batch or none"),
        ("algorithm.fixed={loss: pacs, overlong: mask}", "compares all completions of a group"),
        ("algorithm.fixed={group_filter: best_worst, filter_keep: 0.1}", "leaves 1 of 8 rollouts"),
        ("algorithm.fixed={prompts: 0}", "whole number of at least 1"),
        ("algorithm.fixed={lr: 0.1}", "the recipe has no 'lr'"),
        ("search_space={parameters: {clip_low: {min: 0.5, max: 1.5}}}", "between 0 and 1"),
        ("search_space={parameters: {loss: {values: [clip, clop]}}}", "unknown loss 'clop'"),
        ("policy.width=30", "no multiple of 4 heads"),
        ("policy.net_arch=small", "a transformer has no 'net_arch'"),
        ("evaluation.deterministic=false", "leave this out"),
        (
            "seeds={tuning: 0:3, validation: 60:63, test: 100:110}",
            r"seeds\.test: .*test seed 101 would be evaluated on problems of tuning seed 0",
        ),
    ],
)
def test_mistakes_are_told_before_anything_trains(override: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SECTIONS)
    with pytest.raises(SpecError, match=message):
        check(draft_study(file, [override]))


def test_a_population_that_would_change_the_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SECTIONS)
    space = "search_space={parameters: {learning_rate: {min: 1e-5, max: 1e-3}, policy.width: {values: [32, 64]}}}"
    with pytest.raises(
        SpecError, match=r"backend llm cannot go on with another policy\.width; leave it out of the search"
    ):
        check(draft_study(file, [space, "optimizer={name: bg_pbt}", "evaluation.points=10"]))


def test_a_category_can_be_the_objective(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SECTIONS)
    spec = check(draft_study(file, ["objectives=[{metric: pass_at_1/sort/8}]"]))
    assert spec.objective.metric == "pass_at_1/sort/8"
