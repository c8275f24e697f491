"""What runs cost, and what was not spent."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorl.analysis import Cost, cost_by_phase, speed_up

runs = st.lists(
    st.tuples(
        st.sampled_from(["tuning", "validation", "test"]),
        st.integers(0, 10**9),
        st.integers(0, 10**6).map(float),
        st.integers(0, 10**6).map(float),
    ),
    max_size=30,
)


class TestByPhase:
    def test_by_hand(self) -> None:
        found = cost_by_phase(
            ["tuning", "test", "tuning"],
            [1000, 500, 300],
            [2.5, 1.0, 0.5],
            np.array([2.0, 0.75, 0.25]),
            [60.0, 30.0, 9.0],
        )
        assert found == {"tuning": Cost(2, 1300, 3.0, 2.25, 69.0), "test": Cost(1, 500, 1.0, 0.75, 30.0)}
        assert list(found) == ["tuning", "test"]

    def test_no_run(self) -> None:
        assert cost_by_phase([], [], [], [], []) == {}

    def test_energy_is_not_known_where_one_run_does_not_tell(self) -> None:
        found = cost_by_phase(["tuning", "tuning", "test"], [9, 9, 9], [1, 1, 1], [1, 1, 1], [5.0, math.nan, 7.0])
        assert math.isnan(found["tuning"].energy_joules)
        assert found["test"].energy_joules == 7.0

    def test_a_run_that_did_not_train_need_not_tell(self) -> None:
        found = cost_by_phase(["tuning", "tuning"], [9, 0], [1, 0], [1, 0], [5.0, math.nan])
        assert found["tuning"].energy_joules == 5.0

    @given(runs)
    def test_every_run_is_charged_once(self, rows: list[tuple[str, int, float, float]]) -> None:
        phases, steps, wall, cpu = ([row[i] for row in rows] for i in range(4))
        found = cost_by_phase(phases, steps, wall, cpu, cpu)
        assert set(found) == set(phases)
        assert sum(cost.runs for cost in found.values()) == len(rows)
        assert sum(cost.env_steps for cost in found.values()) == sum(steps)
        assert sum(cost.wall_seconds for cost in found.values()) == sum(wall)
        assert sum(cost.cpu_seconds for cost in found.values()) == sum(cpu)

    @pytest.mark.parametrize(
        ("column", "values", "message"),
        [
            (0, [1.0], r"env_steps: shape \(1,\); expected \(2,\)"),
            (1, [[1.0, 2.0]], r"wall_seconds: shape \(1, 2\)"),
            (1, [1.0, math.nan], r"wall_seconds\[1\] is nan"),
            (2, [-0.5, 1.0], r"cpu_seconds\[0\] is -0.5"),
            (3, [1.0, -2.0], r"energy_joules\[1\] is -2.0"),
            (3, [1.0], r"energy_joules: shape \(1,\)"),
        ],
    )
    def test_refusals(self, column: int, values: list[float], message: str) -> None:
        columns: list[list[float]] = [[1.0, 2.0]] * 4
        columns[column] = values
        with pytest.raises(ValueError, match=message):
            cost_by_phase(["tuning", "test"], *columns)


class TestSpeedUp:
    def test_by_hand(self) -> None:
        # 3 trials on 2 seeds: one in full, one stopped half way, one dropped after the first seed's quarter.
        spent = [1000, 1000, 500, 500, 250]
        assert speed_up(spent, trials=3, tuning_seeds=2, env_steps_per_run=1000) == pytest.approx(6000 / 3250)

    @given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 10**6))
    def test_training_everything_saves_nothing(self, trials: int, seeds: int, steps: int) -> None:
        spent = np.full(trials * seeds, steps)
        assert speed_up(spent, trials=trials, tuning_seeds=seeds, env_steps_per_run=steps) == 1.0
        assert speed_up(spent[:1], trials=trials, tuning_seeds=seeds, env_steps_per_run=steps) == trials * seeds

    @pytest.mark.parametrize("spent", [[], [0.0, 0.0]])
    def test_before_a_step_was_spent(self, spent: list[float]) -> None:
        assert math.isnan(speed_up(spent, trials=1, tuning_seeds=1, env_steps_per_run=10))

    @pytest.mark.parametrize("name", ["trials", "tuning_seeds", "env_steps_per_run"])
    def test_nothing_to_train(self, name: str) -> None:
        counts = {"trials": 1, "tuning_seeds": 1, "env_steps_per_run": 1} | {name: 0}
        with pytest.raises(ValueError, match=f"{name}: 0; expected at least 1"):
            speed_up([1.0], **counts)

    def test_strange_steps(self) -> None:
        with pytest.raises(ValueError, match=r"env_steps\[1\] is inf"):
            speed_up([1.0, math.inf], trials=1, tuning_seeds=1, env_steps_per_run=1)
