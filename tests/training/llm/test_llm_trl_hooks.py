"""What engine trl adds to TRL's trainer changes a run as the recipe says, and agrees with TRL where TRL has it too."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.backends import RecordingHost, learned, train, train_for
from probe_tasks import Echo
from tiny_model import save

from autorl.training.llm import LlmBackend
from autorl.training.llm.problems import Problem
from autorl.training.llm.recipe import Settings
from autorl.trial import Recipe

pytest.importorskip("trl")
from autorl.training.llm.trl_engine import TrlLearner
from autorl.training.llm.trl_trainer import predictor
from autorl.training.llm.update import Update

PLAIN = {"prompts": 4, "rollouts": 4, "max_tokens": 4, "minibatches": 1, "divergence": "none"}
UNREWARDED = {**PLAIN, "max_tokens": 1}  # too short for any answer: no group has advantages


class Recorded(Echo):
    """Keeps what is written in training, and rewards completions by their first digit."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, list[str]] = defaultdict(list)

    def reward(self, problem: Problem, completion: str) -> float:
        self.written[problem.prompt].append(completion)
        return float("0123456789=".find(completion[:1])) / 10


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save(made, Echo.characters)
    return made


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("teacher")
    save(made, Echo.characters, seed=1)
    return made


@pytest.fixture
def base(folder: Path) -> Recipe:
    policy = {"model": str(folder)}
    return Recipe("llm", "grpo", PLAIN, policy, "probe_tasks:Echo", {}, (), 96, 3, 8, True, engine="trl")


def made(folder: Path, task: Echo | None = None, policy: dict[str, Any] | None = None, **own: Any) -> TrlLearner:
    given = {"model": str(folder), **(policy or {})}
    return TrlLearner(task or Recorded(), given, Settings(**{**PLAIN, **own}), 1600, (0, 0))


@pytest.mark.parametrize(
    "own",
    [
        {"aggregation": "sequence"},
        {"aggregation": "token", "temperature": 0.7},
        {"aggregation": "constant", "clip_high": 0.3},
        {"ratio": "sequence"},
        {"loss": "cispo", "aggregation": "token"},
        {"overlong": "mask"},
    ],
)
def test_the_loss_is_trls_where_trl_has_it(own: dict[str, Any], folder: Path) -> None:
    """After an update, so that ratios are not all 1, and some are clipped."""
    learner = made(folder, **own, learning_rate=0.03, epochs=2)
    learner.step()
    trainer, model = learner._trainer, learner._model
    (inputs,) = trainer._buffered_inputs
    expected = trainer._compute_loss(model, inputs)
    trainer.update = Update(predictor(model), predictor(learner._start), None, learner._own)
    found = trainer._compute_loss(model, inputs)
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in (expected, found)]
    assert float(expected.detach()) != 0
    if own.get("overlong") == "mask":  # TRL's mean is over completions that were cut off too
        share = float(inputs["completion_mask"].any(1).float().mean())
        assert 0 < share < 1
        expected, gradients[0] = expected / share, [part / share for part in gradients[0]]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-6)


def test_drawn_with_a_falling_temperature_completions_end_alike(folder: Path) -> None:
    """From the second token on it is so low that the most probable one is taken."""
    for end, alike in ((1e-4, True), (None, False)):
        task = Recorded()
        made(folder, task, temperature_end=end, temperature_decay=0.1, rollouts=32).step()
        continued = defaultdict(set)
        for prompt, completions in task.written.items():
            for each in completions:
                continued[prompt, each[:1]].add(each)
        assert len(continued) > 8
        assert all(len(found) == 1 for found in continued.values()) == alike


def test_groups_drawn_again_count(base: Recipe, tmp_path: Path) -> None:
    """A step is 16 completions, and 48 if all are drawn again twice: three, and one, are half a run."""
    for again in (False, True):
        own = {**UNREWARDED, "dynamic_sampling": again, "resamplings": 2}
        recipe = replace(base, hyperparameters=own, evaluation_points=2)
        host = RecordingHost(tmp_path / str(again))
        assert [steps for steps, _ in learned(train_for(host, LlmBackend(), recipe))] == [48, 96]
        assert host.steps == ([48, 96] if again else [16, 32, 48, 64, 80, 96])


def test_groups_without_differences_are_replaced(folder: Path) -> None:
    learner = made(folder, dynamic_sampling=True, resamplings=20, rollouts=3)
    learner.step()
    rewards = learner._trainer._buffered_inputs[0]["rewards"]
    assert learner.counted.completions > 12
    assert len(rewards) == 12
    assert learner.counted.groups == learner.counted.completions // 3


def test_a_filter_keeps_the_best_and_the_worst(folder: Path) -> None:
    learner = made(folder, group_filter="best_worst", filter_keep=0.25, rollouts=8)
    learner.step()
    (inputs,) = learner._trainer._buffered_inputs
    groups = learner._trainer.scores.view(4, 8)
    extremes = torch.stack([groups.amin(1), groups.amax(1)]).reshape(-1)
    assert sorted(inputs["rewards"].tolist()) == sorted(extremes.tolist())


def test_penalties_reach_what_is_learned_from(folder: Path) -> None:
    class Flawed(Recorded):
        def reward(self, problem: Problem, completion: str) -> float:
            return 1.0

        def flaw(self, problem: Problem, completion: str) -> float:
            return float(completion[:1] > "4")

    learner = made(folder, Flawed(), flaw_penalty=0.25, overlong="penalty", overlong_buffer=2)
    learner.step()
    (inputs,) = learner._trainer._buffered_inputs
    lengths = inputs["completion_mask"].sum(1)
    ended = (inputs["completion_ids"] == 1).any(1)
    expected = ended.float() - 0.25 * inputs["flaws"] * ended - ((lengths - 2) / 2).clamp(0, 1)
    torch.testing.assert_close(inputs["rewards"], expected)
    assert inputs["flaws"].sum() > 0


@pytest.mark.parametrize("teacher_on", ["all", "wrong"])
def test_a_model_learns_from_its_teacher(teacher_on: str, folder: Path, other: Path) -> None:
    """Without rewards it learns from nothing else."""
    task, own = Echo(), {**UNREWARDED, "teacher_coef": 1.0, "teacher_on": teacher_on, "learning_rate": 1e-2}
    learner = made(folder, task, {"teacher": str(other)}, **own)
    problems = [task.draw("echo/1", learner._rng) for _ in range(8)]
    learner._start = made(other, task)._model.eval()  # so that `kl` is measured from the teacher
    before = learner.evaluate(problems, 0)["kl"]
    for _ in range(10):
        learner.step()
    assert learner.evaluate(problems, 0)["kl"] < 0.5 * before


def test_a_model_has_nothing_to_learn_from_itself(folder: Path, other: Path) -> None:
    found = {}
    for teacher in (folder, other):
        learner = made(folder, Echo(), {"teacher": str(teacher)}, **UNREWARDED, teacher_coef=1.0, learning_rate=1e-12)
        learner.step()
        loss = learner._trainer._compute_loss(learner._model, learner._trainer._buffered_inputs[0])
        gradients = torch.autograd.grad(loss, list(learner._model.parameters()))
        found[teacher] = float(loss.detach()), max(float(part.abs().max()) for part in gradients)
    assert found[folder] == pytest.approx((0.0, 0.0), abs=1e-5)
    assert min(found[other]) > 0.1


def test_rare_tokens_are_protected(folder: Path) -> None:
    """Or at least, what is learned is another thing; what their loss is has a test of its own."""
    found = {}
    for coefficient in (0.0, 10.0):
        learner = made(folder, lp_coef=coefficient, lp_share=1.0, lp_least=0.1, aggregation="token")
        learner.step()
        found[coefficient] = [p.detach().clone() for p in learner._model.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(found[0.0], found[10.0], strict=True))


@pytest.mark.parametrize("rank", [0, 2])
def test_it_trains_in_bfloat16(rank: int, base: Recipe, tmp_path: Path) -> None:
    policy = {**base.policy, "dtype": "bfloat16", "device": "cpu", "lora_rank": rank}
    own = {**PLAIN, "entropy_coef": 0.1, "learning_rate": 1e-1, "lp_coef": 0.1}
    recipe = replace(base, policy=policy, hyperparameters=own)
    whole = train(LlmBackend(), recipe, tmp_path / "whole")
    assert whole.curve[-1].metrics["kl"] > 1e-3
    train(LlmBackend(), recipe, tmp_path / "parts", until=32)
    assert learned(train(LlmBackend(), recipe, tmp_path / "parts")) == learned(whole)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_weights_have_the_type_that_is_asked_for(dtype: str, expected: torch.dtype, folder: Path) -> None:
    learner = made(folder, policy={"dtype": dtype, "device": "cpu"})
    for model in (learner._model, learner._start):
        assert {part.dtype for part in model.parameters()} == {expected}
        assert {part.device.type for part in model.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    ("policy", "own", "says"),
    [
        ({}, {"loss": "pacs"}, "loss pacs keeps the completions of a prompt together"),
        ({}, {"teacher_coef": 0.1}, "set policy.teacher"),
        pytest.param(
            {"device": "cuda"},
            {},
            "no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU"),
        ),
    ],
)
def test_what_shows_when_a_run_begins_is_its_failure(
    policy: dict[str, str], own: dict[str, Any], says: str, base: Recipe, tmp_path: Path
) -> None:
    recipe = replace(base, policy={**base.policy, **policy}, hyperparameters={**PLAIN, **own})
    result = train(LlmBackend(), recipe, tmp_path / "a")
    assert (result.status, result.error_class) == ("failed", "exception")
    assert says in (result.error or "")


def test_a_teacher_of_other_tokens_is_refused(folder: Path, tmp_path: Path) -> None:
    save(tmp_path, Echo.characters + "x")
    with pytest.raises(ValueError, match="has other tokens than the model"):
        made(folder, policy={"teacher": str(tmp_path)}, teacher_coef=0.1)
