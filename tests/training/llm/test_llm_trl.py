"""The engine `trl` keeps the promises of every backend, on a tiny model in a folder; nothing is downloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conformance.backends import BackendConformance, learned, train
from probe_tasks import Echo
from small_study import ignore
from tiny_model import save

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.errors import SpecError
from autorl.ledger.reader import Reader
from autorl.report.findings import gather
from autorl.spec.load import draft_study
from autorl.training.llm import LlmBackend
from autorl.training.llm.recipe import Settings, settings
from autorl.training.llm.trl_options import missing, options
from autorl.trial import Recipe

pytest.importorskip("trl")

TINY = {"prompts": 4, "rollouts": 4, "max_tokens": 4, "minibatches": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save(made, Echo.characters)
    return made


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def base(folder: Path) -> Recipe:
    policy = {"model": str(folder)}
    return Recipe("llm", "grpo", TINY, policy, "probe_tasks:Echo", {}, (), 96, 3, 8, True, engine="trl")


@pytest.fixture
def backend() -> LlmBackend:
    return LlmBackend()


class TestTrl(BackendConformance):
    @pytest.fixture
    def recipe(self, base: Recipe) -> Recipe:
        return base

    @pytest.fixture
    def failing(self, base: Recipe) -> Recipe:
        return replace(base, env_kwargs={"broken": "raises"})


VARIANTS = {
    "no divergence, all of TRL's words": {
        "divergence": "none",
        "aggregation": "token",
        "ratio": "sequence",
        "advantage_scale": "batch",
        "overlong": "mask",
        "lr_schedule": "linear",
        "epochs": 2,
        "entropy_coef": 1e-3,
    },
    "advantages that TRL has not": {"advantage_baseline": "leave_one_out", "overlong": "penalty", "divergence": "none"},
    "cispo": {"loss": "cispo", "aggregation": "token", "divergence": "none"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recipe_in_trls_words_trains_and_resumes(
    name: str, backend: LlmBackend, base: Recipe, tmp_path: Path
) -> None:
    recipe = replace(base, hyperparameters={**TINY, **VARIANTS[name]})
    whole = train(backend, recipe, tmp_path / "whole")
    train(backend, recipe, tmp_path / "parts", until=32)
    assert learned(train(backend, recipe, tmp_path / "parts")) == learned(whole)


def test_lora_trains(backend: LlmBackend, base: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    hyperparameters = {**TINY, "divergence": "none", "entropy_coef": 0.1, "learning_rate": 1e-1}
    recipe = replace(base, policy={**base.policy, "lora_rank": 2}, hyperparameters=hyperparameters)
    assert train(backend, recipe, tmp_path / "a").curve[-1].metrics["kl"] > 1e-4


def test_it_learns(backend: LlmBackend, base: Recipe, tmp_path: Path) -> None:
    """From scratch it cannot copy; but that an answer is short enough to end is soon found."""
    hyperparameters = {
        **TINY,
        "prompts": 16,
        "rollouts": 8,
        "learning_rate": 1e-2,
        "divergence": "none",
        "max_tokens": 3,
    }
    recipe = replace(base, hyperparameters=hyperparameters, env_steps=128 * 25, evaluation_points=25)
    curve = train(backend, recipe, tmp_path / "a").curve
    assert curve[0].metrics["truncated"] > 0.6
    assert curve[-1].metrics["truncated"] < 0.2


def test_options_are_the_recipes() -> None:
    own = settings("grpo", {"prompts": 8, "rollouts": 4, "minibatches": 2, "epochs": 3, "clip_high": 0.3})
    found = options(own, 320)
    assert found["per_device_train_batch_size"] == 16
    assert found["steps_per_generation"] == 2
    assert found["max_steps"] == 10 * 2 * 3
    assert (found["epsilon"], found["epsilon_high"]) == (0.2, 0.3)
    assert found["beta"] == own.divergence_coef
    assert found["loss_type"] == "grpo"
    assert options(Settings(loss="cispo", aggregation="token", clip_high=4.0), 256)["epsilon_high"] == 5.0


@pytest.mark.parametrize(
    "asked",
    [
        {"loss": "reinforce"},
        {"loss": "cispo"},
        {"divergence": "forward_kl"},
        {"temperature_end": 0.5},
        {"dynamic_sampling": True},
        {"group_filter": "best_worst"},
        {"minibatches": 5},
        {"sft_noise": 0.3},
    ],
)
def test_what_trl_cannot_do_is_said(asked: dict[str, object]) -> None:
    assert not list(missing(settings("grpo", {}), []))
    assert list(missing(settings("grpo", asked), [*asked]))


STUDY = """\
study: tiny
task: {{env: "probe_tasks:Echo"}}
algorithm: {{backend: llm, engine: trl, name: grpo, fixed: {{prompts: 4, rollouts: 4, max_tokens: 4}}}}
policy: {{model: {model}}}
search_space: {{parameters: {{learning_rate: {{min: 1e-5, max: 1e-2, log: true}}}}}}
objectives: [{{metric: pass_at_1}}]
seeds: {{tuning: 0:2, test: 50:52}}
budget: {{trials: 2, steps_per_run: 32}}
evaluation: {{points: 2, episodes: 4}}
optimizer: {{name: random}}
execution: {{executor: inline}}
storage: sqlite:///{folder}/study.db
"""


def test_a_study_runs_from_end_to_end(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(model=folder, folder=tmp_path))
    conduct(check(draft_study(file)), ignore)
    with Reader(f"sqlite:///{tmp_path}/study.db") as reader:
        found = gather(reader, "tiny")
    assert found.headline is not None
    assert not found.failed


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy={}", "engine trl needs a model"),
        ("policy.width=64", "engine trl has no 'width'"),
        ("policy.lora_rank=-1", "must be a whole number"),
        ("task.env=steps-tools", "engine trl has no turns"),
        ("algorithm.fixed={dynamic_sampling: true}", "TRL has no dynamic_sampling"),
        ("search_space={parameters: {sft_noise: {min: 0.0, max: 0.5}}}", "begins with the model as it is"),
    ],
)
def test_mistakes_are_told_before_anything_trains(override: str, message: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(model=folder, folder=tmp_path))
    with pytest.raises(SpecError, match=message):
        check(draft_study(file, [override]))
