"""Sigmoids fitted to learning curves, and what they predict."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorl.analysis import Direction, held_out_error, sigmoid_fit

STEPS = 5_000.0 * np.arange(1, 21)


def sigmoid(
    asymptote: float, exponent: float, midpoint: float, initial: float, steps: np.ndarray = STEPS
) -> np.ndarray:
    return initial + (asymptote - initial) / (1.0 + (midpoint / steps) ** exponent)


class TestExactCurves:
    @settings(deadline=None, max_examples=30)
    @given(
        asymptote=st.floats(-500.0, 500.0),
        rise=st.floats(1.0, 1000.0),
        exponent=st.floats(0.8, 8.0),
        midpoint=st.floats(8e3, 9e4),
        known=st.booleans(),
        direction=st.sampled_from(["maximize", "minimize"]),
    )
    def test_recovers_its_parameters(
        self, asymptote: float, rise: float, exponent: float, midpoint: float, known: bool, direction: Direction
    ) -> None:
        initial = asymptote - rise if direction == "maximize" else asymptote + rise
        values = sigmoid(asymptote, exponent, midpoint, initial)
        found = sigmoid_fit(STEPS, values, direction=direction, initial=initial if known else None)
        assert found.identified
        assert found.asymptote == pytest.approx(asymptote, abs=1e-4 * rise)
        assert found.initial == pytest.approx(initial, abs=1e-4 * rise)
        assert found.exponent == pytest.approx(exponent, rel=1e-3)
        assert found.midpoint_env_steps == pytest.approx(midpoint, rel=1e-3)
        assert found.residual_deviation < 1e-6 * rise
        ahead = np.array([0.0, 2e5, 1e7])
        with np.errstate(divide="ignore"):
            truth = sigmoid(asymptote, exponent, midpoint, initial, ahead)
        assert found.extrapolate(ahead) == pytest.approx(truth, abs=1e-4 * rise)

    def test_an_evaluation_of_the_untrained_policy(self) -> None:
        steps = np.concatenate([[0.0], STEPS])
        with np.errstate(divide="ignore"):
            values = sigmoid(200.0, 2.0, 3e4, -150.0, steps)
        found = sigmoid_fit(steps, values)
        assert (found.asymptote, found.initial) == pytest.approx((200.0, -150.0), abs=1e-3)

    def test_step_between_two_evaluations(self) -> None:
        found = sigmoid_fit(STEPS, np.where(STEPS > 52_000.0, 500.0, 9.0))
        assert found.identified
        assert found.asymptote == pytest.approx(500.0, abs=5.0)
        assert 50_000.0 < found.midpoint_env_steps < 55_000.0

    def test_known_initial_is_taken_at_its_word(self) -> None:
        values = sigmoid(100.0, 1.5, 2e4, 0.0)
        assert sigmoid_fit(STEPS, values, initial=-300.0).initial == -300.0

    def test_is_deterministic(self) -> None:
        values = sigmoid(1.0, 2.0, 3e4, 0.0) + 0.1 * np.random.default_rng(5).normal(size=20)
        assert sigmoid_fit(STEPS, values) == sigmoid_fit(STEPS, values)


class TestNoisyCurves:
    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_error_is_bounded(self, direction: Direction) -> None:
        rng = np.random.default_rng(2)
        sign = 1.0 if direction == "maximize" else -1.0
        errors, deviations = [], []
        for _ in range(40):
            values = sigmoid(sign, 3.0, 4e4, 0.0) + 0.03 * rng.normal(size=20)
            found = sigmoid_fit(STEPS, values, direction=direction)
            assert found.identified
            errors.append([found.asymptote - sign, found.initial, math.log(found.midpoint_env_steps / 4e4)])
            deviations.append(found.residual_deviation)
        assert np.all(np.sqrt(np.mean(np.square(errors), axis=0)) < [0.06, 0.06, 0.06])
        assert np.mean(np.square(deviations)) == pytest.approx(0.03**2, rel=0.12)

    def test_one_evaluation_that_collapsed_does_not_bend_it(self) -> None:
        values = sigmoid(1.0, 3.0, 3e4, 0.0) + 0.01 * np.random.default_rng(3).normal(size=20)
        values[15] = 0.0
        found = sigmoid_fit(STEPS, values)
        # The mean of the last ten evaluations is off by 0.1.
        assert found.asymptote == pytest.approx(1.0, abs=0.04)

    @pytest.mark.parametrize(
        ("p", "identified", "off"), [pytest.param(10, 0.44, 0.03, marks=pytest.mark.slow), (20, 0.49, 0.02)]
    )
    def test_docstring_is_honest_about_identification(self, p: int, identified: float, off: float) -> None:
        rng = np.random.default_rng(17)
        steps = np.arange(1, p + 1) * 1e5 / p
        flags, errors = [], []
        for _ in range(200):
            exponent, midpoint = math.exp(rng.uniform(0.0, math.log(6.0))), math.exp(rng.uniform(-2.302585, 0.405465))
            values = sigmoid(1.0, exponent, 1e5 * midpoint, 0.0, steps) + 0.05 * rng.normal(size=p)
            found = sigmoid_fit(steps, values)
            flags.append(found.identified)
            errors.append(abs(found.asymptote - 1.0))
        wrong = np.array(errors) > 0.2
        # Three standard errors of 200 draws, and of the fewer that are identified.
        assert np.mean(flags) == pytest.approx(identified, abs=0.11)
        assert np.mean(wrong[np.array(flags)]) <= off + 0.05
        assert np.mean(wrong[~np.array(flags)]) >= 0.4


class TestIdentification:
    def test_midpoint_beyond_the_last_evaluation(self) -> None:
        found = sigmoid_fit(STEPS, sigmoid(1.0, 2.0, 2e5, 0.0))
        assert found.midpoint_env_steps == pytest.approx(2e5, rel=1e-3)
        assert not found.identified

    def test_straight_line(self) -> None:
        rng = np.random.default_rng(8)
        assert not sigmoid_fit(STEPS, STEPS / 1e5 + 0.02 * rng.normal(size=20)).identified

    def test_nothing_but_noise(self) -> None:
        rng = np.random.default_rng(9)
        flags = [sigmoid_fit(STEPS, rng.normal(size=20)).identified for _ in range(50)]
        assert sum(flags) <= 4

    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_a_constant(self, direction: Direction) -> None:
        found = sigmoid_fit(STEPS, np.full(20, 500.0), direction=direction)
        assert (found.asymptote, found.initial, found.residual_deviation) == pytest.approx(
            (500.0, 500.0, 0.0), abs=1e-6
        )
        assert found.extrapolate(1e6) == pytest.approx(500.0, abs=1e-6)
        assert not found.identified

    def test_what_gets_worse_is_a_constant(self) -> None:
        falling = sigmoid(0.0, 2.0, 3e4, 1.0)
        found = sigmoid_fit(STEPS, falling)
        assert found.asymptote == pytest.approx(found.initial, abs=1e-3)
        assert not found.identified
        assert sigmoid_fit(STEPS, falling, direction="minimize").identified


class TestHeldOut:
    def test_exact_curve_is_predicted(self) -> None:
        found = held_out_error(STEPS, sigmoid(300.0, 2.0, 3e4, 10.0))
        assert (found.last, found.mean) == pytest.approx((0.0, 0.0), abs=0.01)
        assert found.fit.asymptote == pytest.approx(300.0, abs=0.1)

    def test_by_hand(self) -> None:
        # The fit sees a constant, and the rest is off by 1, 2, 3, 4, 5.
        values = [7.0] * 5 + [8.0, 5.0, 10.0, 3.0, 12.0]
        found = held_out_error(np.arange(1, 11), values)
        assert (found.last, found.mean) == pytest.approx((5.0, 3.0), abs=1e-6)

    def test_share_is_of_environment_steps(self) -> None:
        steps = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0])
        found = held_out_error(steps, [2.0] * 6 + [5.0], share=0.06)
        assert (found.last, found.mean) == pytest.approx((3.0, 3.0), abs=1e-6)
        assert held_out_error(steps, [2.0] * 5 + [4.0, 5.0], share=0.05).mean == pytest.approx(2.5, abs=1e-6)

    def test_the_future_does_not_leak(self) -> None:
        values = sigmoid(1.0, 2.0, 3e4, 0.0)
        changed = np.where(STEPS > 5e4, 9.0, values)
        assert held_out_error(STEPS, values).fit == held_out_error(STEPS, changed).fit

    def test_beats_the_last_value_seen(self) -> None:
        rng = np.random.default_rng(12)
        errors, persistence = [], []
        for _ in range(30):
            values = sigmoid(1.0, 2.0, 2.5e4, 0.0) + 0.01 * rng.normal(size=20)
            errors.append(held_out_error(STEPS, values).last)
            persistence.append(abs(values[9] - values[-1]))
        assert np.mean(errors) < np.mean(persistence) / 2

    def test_directions_mirror(self) -> None:
        values = sigmoid(1.0, 2.0, 3e4, 0.0) + 0.05 * np.random.default_rng(13).normal(size=20)
        up = held_out_error(STEPS, values, initial=0.0)
        down = held_out_error(STEPS, -values, direction="minimize", initial=0.0)
        assert (down.last, down.mean) == pytest.approx((up.last, up.mean), abs=1e-6)

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 50.0, math.nan])
    def test_share(self, share: float) -> None:
        with pytest.raises(ValueError, match="share: "):
            held_out_error(STEPS, sigmoid(1.0, 2.0, 3e4, 0.0), share=share)

    def test_too_little_to_fit(self) -> None:
        with pytest.raises(ValueError, match="env_steps: 4 evaluations; expected at least 5"):
            held_out_error(STEPS, sigmoid(1.0, 2.0, 3e4, 0.0), share=0.2)


class TestRefusals:
    def test_too_few_evaluations(self) -> None:
        values = sigmoid(1.0, 2.0, 1e4, 0.0)
        with pytest.raises(ValueError, match="env_steps: 4 evaluations; expected at least 5"):
            sigmoid_fit(STEPS[:4], values[:4])
        with pytest.raises(ValueError, match="env_steps: 3 evaluations; expected at least 4"):
            sigmoid_fit(STEPS[:3], values[:3], initial=0.0)
        assert sigmoid_fit(STEPS[:4], values[:4], initial=0.0).asymptote == pytest.approx(1.0, abs=1e-3)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.ones((2, 20)), r"values: shape \(2, 20\); expected \(p,\), one curve"),
            (np.where(STEPS == 1e4, math.nan, 1.0), r"values\[1\] is nan"),
            (np.ones(19), r"env_steps: shape \(20,\); expected \(19,\)"),
        ],
    )
    def test_values(self, values: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            sigmoid_fit(STEPS, values)

    @pytest.mark.parametrize("initial", [math.nan, -math.inf])
    def test_initial(self, initial: float) -> None:
        with pytest.raises(ValueError, match="initial: "):
            sigmoid_fit(STEPS, np.ones(20), initial=initial)

    def test_direction(self) -> None:
        with pytest.raises(ValueError, match="direction: 'max'"):
            sigmoid_fit(STEPS, np.ones(20), direction="max")  # type: ignore[arg-type]

    @pytest.mark.parametrize("step", [-1.0, math.nan, math.inf])
    def test_extrapolation(self, step: float) -> None:
        found = sigmoid_fit(STEPS, sigmoid(1.0, 2.0, 3e4, 0.0))
        with pytest.raises(ValueError, match="env_steps: negative or not finite"):
            found.extrapolate([1e5, step])
