"""The range of a parameter as the interval from 0 to 1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorl.spec.space import Choice, Configuration, Numeric, Parameter
from autorl.spec.unit import bins, from_unit, place, to_unit

DOMAINS = {
    "range": Numeric(-2.0, 6.0),
    "log": Numeric(1e-5, 1e-1, log=True),
    "whole": Numeric(3, 9, integer=True),
    "whole log": Numeric(1, 1_000, log=True, integer=True),
    "stepped": Numeric(0.0, 1.0, step=0.25),
    "choice": Choice(("a", [1, 2], None)),
}


@pytest.mark.parametrize("name", DOMAINS)
@given(place=st.floats(0.0, 1.0))
def test_there_and_back_is_the_same_coordinate(name: str, place: float) -> None:
    domain = DOMAINS[name]
    coordinate = from_unit(domain, place)
    assert domain.contains(coordinate)
    back = from_unit(domain, to_unit(domain, coordinate))
    assert back == coordinate if isinstance(coordinate, str | int | None) else back == pytest.approx(coordinate)


def test_scales() -> None:
    assert from_unit(DOMAINS["log"], 0.5) == pytest.approx(1e-3)
    assert from_unit(DOMAINS["range"], 0.25) == pytest.approx(0.0)
    assert [from_unit(DOMAINS["whole"], (i + 0.5) / 7) for i in range(7)] == [3, 4, 5, 6, 7, 8, 9]
    assert [from_unit(DOMAINS["choice"], place) for place in (0.0, 0.5, 1.0)] == ["a", "[1, 2]", None]


def test_a_value_outside_the_range_lies_at_its_end() -> None:
    rate = Parameter("rate", Numeric(1e-3, 1.0, log=True), "rate")
    assert place(rate, Configuration({"rate": 0.0})) == 0.0
    assert place(rate, Configuration({"rate": 7})) == 1.0
    assert place(rate, Configuration({"rate": 0.1}, {"rate": 0.1})) == pytest.approx(2 / 3)
    assert place(rate, Configuration({})) is None
    kind = Parameter("kind", Choice(("a", "b")), "kind")
    assert place(kind, Configuration({"kind": "c"})) is None
    assert place(kind, Configuration({"kind": "b"}, {"kind": "b"})) == 0.75
    near = Parameter("gamma", Numeric(1e-4, 0.1, log=True), "gamma", transform="one_minus")
    assert place(near, Configuration({"gamma": 1.0})) == 0.0


def test_bins_are_counted() -> None:
    assert {name: bins(domain) for name, domain in DOMAINS.items()} == {
        "range": None,
        "log": None,
        "whole": 7,
        "whole log": None,
        "stepped": 5,
        "choice": 3,
    }
