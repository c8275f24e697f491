import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorl.analysis import contamination, entropy_similarity

ENTROPIES = st.lists(st.floats(0.0, 10.0), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [2.0, 4.0], 1.0),  # as alike, if less sure
        ([1.0, 0.0], [0.0, 1.0], 0.0),
        ([3.0, 4.0], [3.0], 3 / 5 * 1 / 2),  # (3, 4) and (3, 0), at half the length
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0], 2 / math.sqrt(8) * 2 / 4),
        ([0.0, 0.0], [1.0, 2.0], 0.0),
    ],
)
def test_worked_examples(first: list[float], second: list[float], expected: float) -> None:
    assert entropy_similarity(first, second) == pytest.approx(expected)
    assert entropy_similarity(second, first) == pytest.approx(expected)


@given(ENTROPIES, ENTROPIES)
def test_it_lies_between_nothing_and_sameness(first: list[float], second: list[float]) -> None:
    assert (
        0.0
        <= entropy_similarity(first, second)
        <= min(len(first), len(second)) / max(len(first), len(second)) * (1 + 1e-9)
    )


@pytest.mark.parametrize(
    ("first", "message"),
    [([], "first: empty"), ([math.nan], r"first\[0\] is nan"), ([-0.1], "first: an entropy is -0.1")],
)
def test_what_is_no_entropy_is_refused(first: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entropy_similarity(first, [1.0])


def answers(generator: np.random.Generator, kept: float) -> tuple[np.ndarray, np.ndarray]:
    """Return entropies of two answers, of which the second keeps to the path of the first for some part of it."""
    first, other = generator.gamma(0.5, size=(2, 20))
    shared = round(kept * 20)
    return first, np.concatenate([first[:shared], other[shared : generator.integers(max(shared, 10), 21)]])


def test_problems_on_which_the_policy_keeps_to_its_path_are_told_from_others() -> None:
    generator = np.random.default_rng(0)
    suspected, clean, more = ([answers(generator, kept) for _ in range(40)] for kept in (0.9, 0.1, 0.1))
    found = contamination(suspected, clean)
    assert found.low > 0.9
    nothing = contamination(more, clean)
    assert nothing.low < 0.5 < nothing.high
