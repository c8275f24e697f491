"""Indicators agree with worked examples, and fronts are kept from the worker to the ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_study import ignore

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.ledger.reader import Reader
from autorl.spec.load import draft_study
from autorl.training.morl.episodes import known_front, make
from autorl.training.morl.indicators import measure, nondominated

STUDY = """
study: fronts
task: {{env: "probe_envs:autorl-tests/Trade-v0"}}
algorithm: {{backend: morl, name: pql, fixed: {{ref_point: [0, 0], final_epsilon: 1.0}}}}
search_space: {{parameters: {{gamma: {{min: 0.8, max: 0.99}}}}}}
objectives: [{{metric: hypervolume}}]
seeds: {{tuning: 0:2, test: 10:12}}
budget: {{trials: 2, steps_per_run: 200}}
evaluation: {{points: 2, episodes: 1}}
optimizer: {{name: random}}
execution: {{executor: inline}}
storage: sqlite:///{folder}/study.db
"""


@pytest.mark.parametrize(
    ("env", "gamma", "ref_point", "points", "hypervolume"),
    [
        ("deep-sea-treasure-v0", 0.99, [0, -25], 10, 360.4),
        ("deep-sea-treasure-concave-v0", 0.99, [0, -25], 10, 1101.38),
        ("fruit-tree-v0", 0.99, [0] * 6, 64, 9302.38),
        ("resource-gathering-v0", 1.0, [-1, -1, -1], 3, 3.729),
    ],
)
def test_known_fronts(env: str, gamma: float, ref_point: list[float], points: int, hypervolume: float) -> None:
    known = known_front(make(env, {}, ()), gamma)
    assert known is not None
    assert len(known) == points
    assert nondominated(known).all()
    found = measure(known, np.array(ref_point, float), known)
    assert found["hypervolume"] == pytest.approx(hypervolume, abs=0.01)
    assert (found["igd"], found["igd_plus"], found["cardinality"]) == (0.0, 0.0, points)


def test_indicators_of_a_front_that_fits_on_paper() -> None:
    """Three points: boxes of 4×1, 2×1 and 1×2 above the origin; steps of 2 and 1, and of 1 and 2."""
    front = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0]])
    found = measure(front, np.zeros(2), np.array([[2.0, 4.0], [4.0, 2.0]]))
    assert found["hypervolume"] == pytest.approx(4 + 2 + 2)
    assert found["sparsity"] == pytest.approx((1 + 4 + 4 + 1) / 2)
    assert found["igd"] == pytest.approx(1.0)
    assert found["igd_plus"] == pytest.approx(1.0)
    assert found["cardinality"] == 3.0
    # The greatest of 4 - 3w, 2 and 1 + 3w, over w from 0 to 1.
    assert found["expected_utility"] == pytest.approx(3.25, abs=0.05)


def test_of_equal_points_one_is_kept() -> None:
    returns = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 2.0], [2.0, 0.0]])
    assert nondominated(returns).tolist() == [True, False, False, True]


def test_fronts_reach_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.format(folder=tmp_path))
    spec = check(draft_study(tmp_path / "study.yaml"))
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        curves = reader.curves("fronts", [0, 1])
    assert {(curve.run.phase, curve.run.seed) for curve in curves} >= {("tuning", 0), ("test", 10)}
    for curve in curves:
        assert curve.points[-1].front == ((0.0, 1.0), (0.4, 0.4), (1.0, 0.0))
        assert curve.points[-1].metrics["hypervolume"] == pytest.approx(0.16)
