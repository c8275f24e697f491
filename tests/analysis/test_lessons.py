"""Niches are where returns changed, by a worked example."""

from __future__ import annotations

from typing import Any

from autorl.analysis.lessons import added_up, niches


def record(episodes: list[int], returns: list[float | None]) -> dict[str, Any]:
    return {"env_steps": episodes, "episodes": episodes, "return": returns, "success": [None] * len(returns)}


def test_the_weights_of_a_phase_are_the_progress_that_it_led_to() -> None:
    told = [
        # Nothing changes in the second phase, and the third part is trained in the first and then in the third.
        (0, record([2, 4, 1], [1.0, 0.0, 0.5])),
        (1, record([2, 2, 0], [1.0, 0.0, None])),
        # Two seeds: of the second part, (3 · 0.2 + 1 · 1.0) / 4 = 0.4.
        (2, record([0, 3, 1], [None, 0.2, 0.3])),
        (2, record([0, 1, 1], [None, 1.0, 0.3])),
        (3, record([1, 1, 0], [0.7, 0.5, None])),
    ]
    found = added_up(told)
    assert found is not None
    # 0.4 and |0.3 − 0.5| led to the third, |0.7 − 1.0| and 0.1 to the fourth; before and after the nearest holds.
    learned = [[0.0, 0.667, 0.333], [0.0, 0.667, 0.333], [0.75, 0.25, 0.0], [0.75, 0.25, 0.0]]
    assert niches(found, 4).tolist() == learned
    later = added_up([(number + 1, one) for number, one in told])
    assert later is not None
    # A run whose first phase nobody recorded.
    assert niches(later, 5).tolist() == [learned[0], *learned]


def test_where_nothing_changed_all_weights_are_0() -> None:
    found = added_up([(0, record([1, 1], [0.5, None])), (1, record([1, 1], [0.5, 1.0]))])
    assert found is not None
    assert niches(found, 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert added_up([]) is None
