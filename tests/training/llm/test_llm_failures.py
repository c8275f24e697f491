"""What goes wrong in a study of language models: what it is called, and that the study goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_study import ignore

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.ledger.reader import Reader
from autorl.report.findings import Findings, gather
from autorl.spec.load import draft_study

STUDY = """\
study: small
task: {env: "probe_tasks:Echo"}
algorithm: {backend: llm, name: grpo, fixed: {prompts: 4, rollouts: 4, max_tokens: 6, sft_steps: 4, sft_batch: 8}}
policy: {width: 16, layers: 1, heads: 2, context: 32}
search_space: {parameters: {learning_rate: {min: 1e-5, max: 1e-2, log: true}}}
objectives: [{metric: pass_at_1}]
seeds: {tuning: 0:1, test: 100:101}
budget: {trials: 2, steps_per_run: 32}
evaluation: {points: 2, episodes: 4}
execution: {executor: processes, workers: 2}
optimizer: {name: random}
"""


def conducted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Findings:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    spec = check(draft_study(file, [*overrides, f"storage=sqlite:///{tmp_path / 'a.db'}"]))
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        return gather(reader, spec.study)


@pytest.mark.parametrize(
    ("broken", "limits", "error_class", "says"),
    [
        ("raises", "{}", "exception", "the verifier is broken"),
        ("nan", "{}", "exception", "the task's reward is nan"),
        ("hangs", "{progress_seconds: 5}", "hang", "no progress for 5 s"),
        ("long prompt", "{}", "exception", "a prompt of 120001 tokens .* raise policy.context"),
    ],
)
def test_a_task_that_breaks(
    broken: str, limits: str, error_class: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = conducted(tmp_path, monkeypatch, f"task.env_kwargs={{broken: {broken}}}", f"execution.limits={limits}")
    assert found.study.state == "finished"
    runs = [run for runs in found.runs.values() for run in runs]
    assert [run.error_class for run in runs] == [error_class] * 2
    for run in runs:
        assert run.error is not None
        with pytest.raises(AssertionError, match=says):
            raise AssertionError(run.error)


def test_answers_of_any_length_are_wrong_at_worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = conducted(tmp_path, monkeypatch, "task.env_kwargs={broken: long answer}")
    assert {trial.state for trial in found.trials} == {"completed"}


def test_one_trial_diverges_and_the_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = conducted(
        tmp_path,
        monkeypatch,
        "search_space={parameters: {learning_rate: {values: [1e-4, 1e30]}}}",
        "algorithm.fixed.max_grad_norm=1e30",
        "algorithm.fixed.weight_decay=1.0",
        "algorithm.fixed.advantage_baseline=none",
        "algorithm.fixed.entropy_coef=1.0",
        "optimizer={name: random, enqueue: [{learning_rate: 1e30}]}",
    )
    assert sorted(trial.state for trial in found.trials) == ["completed", "failed"]
    (failed,) = [run for runs in found.runs.values() for run in runs if run.state == "failed"]
    assert (failed.error_class, failed.scores) == ("diverged", ())
