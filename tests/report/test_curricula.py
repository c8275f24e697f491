"""Reports say where a curriculum trained, and how the kinds compare."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import ignore, load

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.ledger.reader import Reader
from autorl.ledger.records import CurveRecord
from autorl.report.curricula import curriculum_sentences, ends, half, parts_of_target, trained
from autorl.report.findings import gather
from autorl.report.html import page
from autorl.spec.load import draft_study
from autorl.trial import Point, Run

LAKE = (
    "task={env: 'autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0', env_kwargs: {size: 5}, "
    "parameters: {distance: {min: 1, max: 8}}, target: {distance: 8}}"
)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [([10, 0, 0, 0], (0, 0)), ([1, 4, 5, 1], (1, 2)), ([2, 2, 2, 2], (0, 1)), ([3, 1, 1, 3, 3], (3, 4))],
)
def test_half_of_training_in_as_few_parts_as_hold_it(steps: list[int], expected: tuple[int, int]) -> None:
    assert half(np.array(steps)) == expected


def test_parts_are_named_by_the_values_in_them() -> None:
    assert ends({"min": 0.0, "max": 5.0}, 2, 3, 10) == (1.0, 2.0)
    assert ends({"min": 1, "max": 38}, 0, 0, 10) == (1, 4)  # of 38 values the first tenth has 3.8
    assert ends({"min": 1, "max": 38}, 9, 9, 10) == (35, 38)
    assert ends({"min": 3, "max": 5}, 1, 2, 3) == (4, 5)
    assert ends({"values": ["a", "b", "c"]}, 1, 1, 3) == ("b", "b")
    covered = [
        value
        for part in range(10)
        for value in range(
            ends({"min": 1, "max": 38}, part, part, 10)[0], ends({"min": 1, "max": 38}, part, part, 10)[1] + 1
        )
    ]
    assert covered == list(range(1, 39))


@pytest.mark.parametrize(
    ("parameter", "target", "expected"),
    [
        ({"min": 1, "max": 38}, 38, [9]),
        ({"min": 1, "max": 38}, 60, [9]),
        ({"min": 0.0, "max": 2.0}, {"min": 0.5, "max": 0.9}, [2, 3, 4]),
        ({"values": list("abcdefghij")}, {"values": ["j", "b"]}, [1, 9]),
    ],
)
def test_the_target_is_in_its_parts(parameter: dict[str, Any], target: Any, expected: list[int]) -> None:
    assert parts_of_target(parameter, target, 10) == expected


def test_what_was_trained_is_added_up_over_seeds() -> None:
    def curve(seed: int, steps: list[int], episodes: list[int], rates: list[float | None]) -> CurveRecord:
        record = {"env_steps": steps, "episodes": episodes, "return": rates, "success": [None, *rates[1:]]}
        return CurveRecord(Run(0, "tuning", seed), (Point(100, 0.0, {"return": 0.0}, {"x": record}),))

    found = trained(
        [curve(0, [9, 0, 4], [3, 0, 1], [1.0, None, 0.5]), curve(1, [3, 0, 0], [1, 0, 0], [0.0, None, None])], "x"
    )
    assert found is not None
    assert found.until == (100,)
    assert found.env_steps.tolist() == [[12, 0, 4]]
    np.testing.assert_array_equal(found.returns, [[0.75, np.nan, 0.5]])  # three episodes of 1.0 and one of 0.0
    np.testing.assert_array_equal(found.success, [[np.nan, np.nan, 0.5]])
    assert trained([CurveRecord(Run(0, "tuning", 0), (Point(1, 0.0, {}),))], "x") is None


def test_a_study_says_where_its_curriculum_trained(tmp_path: Path) -> None:
    search = "search_space.parameters={curriculum.kind: {values: [linear, none]}, gamma: {min: 0.9, max: 0.99}}"
    spec = load(
        tmp_path,
        LAKE,
        "curriculum.kind=linear",
        search,
        "optimizer.enqueue=[{curriculum.kind: none}]",
        "budget.trials=2",
    )
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        found = gather(reader, "small")
        said = curriculum_sentences(found, partial(reader.curves, "small"))
        html = page(found, reader)
        (curve, *_) = reader.curves("small", [0], "tuning")
    assert all(point.curriculum is not None for point in curve.points)
    kinds = said[0]
    assert re.match(
        r"The best trial of each kind .*: (linear|none) .*\(trial \d\), (linear|none) .*\(trial \d\)\.$", kinds
    )
    if (found.winner or found.incumbent) == found.trials[0]:
        assert re.match(r"The curriculum of trial 0 \(linear\) spent \d+% of its training on distance", said[1])
        assert said[1].endswith("the target is 8.")
    assert kinds[:30] in html


def test_a_study_without_one_says_nothing(tmp_path: Path) -> None:
    spec = load(tmp_path, "budget.trials=1", "seeds={tuning: 0:1, test: 20:21}")
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        assert curriculum_sentences(gather(reader, "small"), partial(reader.curves, "small")) == []


LANGUAGE = """\
study: words
task: {{env: "probe_tasks:Echo", parameters: {{level: {{values: [1, 2]}}}}, target: {{level: 2}}}}
algorithm: {{backend: llm, name: grpo, fixed: {{prompts: 4, rollouts: 4, max_tokens: 4, sft_steps: 2}}}}
policy: {{width: 16, layers: 1, heads: 2, context: 32}}
curriculum: {{kind: stages, stages: 2, advance: steps, over: 0.9}}
search_space: {{parameters: {{curriculum.kind: {{values: [stages, none]}}}}}}
objectives: [{{metric: pass_at_1}}]
seeds: {{tuning: 0:1, test: 50:51}}
budget: {{trials: 1, steps_per_run: 64}}
evaluation: {{points: 2, episodes: 4}}
optimizer: {{name: random}}
execution: {{executor: inline}}
storage: sqlite:///{folder}/study.db
"""


def test_a_language_study_says_on_which_levels_it_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "study.yaml"
    file.write_text(LANGUAGE.format(folder=tmp_path))
    conduct(check(draft_study(file, [])), ignore)
    with Reader(f"sqlite:///{tmp_path}/study.db") as reader:
        found = gather(reader, "words")
        said = curriculum_sentences(found, partial(reader.curves, "words"))
    # Of 64 completions the first 57.6 are of the easy level, and steps have 16.
    assert said == ["The curriculum of trial 0 (stages) spent 100% of its training on level 1; the target is 2."]
