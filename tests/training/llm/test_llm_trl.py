"""The engine `trl` keeps the promises of every backend, on a tiny model in a folder; nothing is downloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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
from autorl.spec.yaml12 import parse
from autorl.training.llm import LlmBackend
from autorl.training.llm.recipe import Settings, settings
from autorl.training.llm.trl_options import missing, missing_in_plain_trl, of_small, options
from autorl.trial import Recipe

pytest.importorskip("trl")

SPACES = Path(__file__).parents[3] / "search_spaces"
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
    "a loss that TRL has not, in one gradient step": {
        "loss": "oreal",
        "divergence": "jensen_shannon",
        "lp_coef": 1.0,
        "minibatches": 1,
        "entropy_coef": 1e-3,
    },
    "groups drawn again, and a falling temperature": {
        "dynamic_sampling": True,
        "temperature_end": 0.5,
        "temperature_decay": 2.0,
        "ratio": "sequence",
        "epochs": 2,
    },
    "a filter and penalties": {
        "group_filter": "on_correct",
        "flaw_penalty": 0.5,
        "overlong": "penalty",
        "overlong_buffer": 2,
        "loss": "reinforce",
        "lr_schedule": "linear",
    },
    "nothing comes to its end, and is left out": {"overlong": "mask", "lp_coef": 1.0, "max_tokens": 1},
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
    ("asked", "policy"),
    [
        ({"loss": "pacs"}, {}),
        ({"loss": "rover"}, {}),
        ({"advantage_baseline": "critic", "advantage_scale": "none"}, {}),
        ({"teacher_coef": 0.1}, {}),
        ({"rollouts": 1, "advantage_baseline": "none", "advantage_scale": "none"}, {}),
        ({"minibatches": 5}, {}),
        ({"minibatches": 64, "group_filter": "best_worst", "filter_keep": 0.375}, {}),
        ({"temperature_end": 0.5}, {"vllm": True}),
    ],
)
def test_what_the_engine_cannot_do_is_said(asked: dict[str, Any], policy: dict[str, Any]) -> None:
    assert not list(missing(settings("grpo", {}), policy))
    assert list(missing(settings("grpo", asked), policy))


@pytest.mark.parametrize(
    "asked",
    [
        {"loss": "reinforce"},
        {"loss": "cispo"},
        {"divergence": "forward_kl"},
        {"temperature_end": 0.5},
        {"lp_coef": 1.0},
        {"teacher_coef": 0.1},
        {"dynamic_sampling": True},
        {"group_filter": "best_worst"},
        {"flaw_penalty": 0.5},
        {"advantage_baseline": "leave_one_out"},
        {"overlong": "penalty"},
    ],
)
def test_what_the_engine_adds_to_trl_is_not_exported(asked: dict[str, object]) -> None:
    assert not list(missing_in_plain_trl(settings("grpo", {})))
    assert list(missing_in_plain_trl(settings("grpo", asked)))
    assert not list(missing(settings("grpo", asked), {"teacher": "folder"}))


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
        ("policy.dtype=int8", "unknown dtype 'int8'; allowed: auto, float32, bfloat16"),
        ("policy.device=tpu", "unknown device 'tpu'; allowed: auto, cpu, cuda"),
        ("policy.vllm=true", "vLLM is not installed"),
        ("policy={model: x, vllm: true, device: cpu}", "vLLM on a GPU only"),
        ("policy.teacher=3", "must be a model's folder"),
        ("algorithm.fixed={loss: pacs}", "pacs keeps the completions of a prompt together"),
        ("algorithm.name=kdrl", "set policy.teacher"),
        ("algorithm.fixed={teacher_noise: 0.1}", "is the model policy.teacher"),
        ("search_space={parameters: {loss: {values: [clip, rover]}}}", "needs the whole vocabulary"),
        ("search_space={parameters: {sft_noise: {min: 0.0, max: 0.5}}}", "begins with the model as it is"),
    ],
)
def test_mistakes_are_told_before_anything_trains(override: str, message: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(model=folder, folder=tmp_path))
    with pytest.raises(SpecError, match=message):
        check(draft_study(file, [override]))


def test_the_space_for_trl_is_the_small_engines_without_what_trl_cannot_do() -> None:
    whole, ours = (
        parse((SPACES / name).read_bytes(), name).data["parameters"] for name in ("llm.yaml", "llm-trl.yaml")
    )
    left: dict[str, dict[str, Any]] = {}
    for name, parameter in whole.items():
        key, when = parameter.get("sets", name), parameter.get("when", {})
        several = {other: allowed if isinstance(allowed, list) else [allowed] for other, allowed in when.items()}
        kept = {other: [v for v in allowed if not of_small(other, v)] for other, allowed in several.items()}
        if of_small(key, None) or not all(kept.values()):
            continue
        # One value is written as it is, several as a list.
        whens = {other: kept[other] if isinstance(allowed, list) else allowed for other, allowed in when.items()}
        left[name] = {**parameter, **({"when": whens} if when else {})}
        if "values" in parameter:
            left[name]["values"] = [value for value in parameter["values"] if not of_small(key, value)]
    assert left == ours
