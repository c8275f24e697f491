"""Vectors stand for configurations, and every vector for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conformance.optimizers import SPACE

from autorl.optimizers.encoding import Encoding
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_configuration_survives_the_round_trip(one_hot: bool) -> None:
    encoding, rng = Encoding(SPACE, one_hot), np.random.default_rng(0)
    for _ in range(200):
        config = encoding.decode(rng.random(encoding.columns))
        again = encoding.decode(encoding.encode(config))
        assert again.coordinates.keys() == config.coordinates.keys()
        for name, coordinate in config.coordinates.items():
            expected = pytest.approx(coordinate) if isinstance(coordinate, float) else coordinate
            assert again.coordinates[name] == expected


def test_scales_bins_and_choices() -> None:
    encoding = Encoding(SPACE, one_hot=True)
    coordinates = {"rate": 1e-3, "discount": 0.1, "batch": 3, "net": "[64, 64]", "clip": False}
    config = SPACE.build(lambda parameter: coordinates[parameter.name])
    vector = encoding.encode(config)
    assert vector == pytest.approx([0.5, 1.0, 0.5 / 6, 0.0, 1.0, 0.0, 0.25, 0.5])
    assert encoding.choices.tolist() == [False, False, False, True, True, True, True, False]


def test_whole_numbers_are_equally_likely() -> None:
    space = SearchSpace((Parameter("n", Numeric(1, 3, integer=True), "n"), Parameter("c", Choice(("a", "b")), "c")))
    encoding, rng = Encoding(space), np.random.default_rng(1)
    found = [encoding.decode(rng.random(2)).values["n"] for _ in range(3000)]
    assert np.bincount(found)[1:] == pytest.approx([1000] * 3, abs=120)


def test_values_outside_the_space_have_a_place() -> None:
    outside = Configuration({"rate": 0.5, "discount": 0.5, "batch": 7, "net": "huge", "clip": True}, {"clip": True})
    vector = Encoding(SPACE).encode(outside)
    assert vector[:2] == pytest.approx([1.0, 1.0])
    assert ((vector >= 0) & (vector <= 1)).all()
    inside = Configuration({**outside.values, "batch": 100}, {"clip": True})
    assert Encoding(SPACE).encode(inside)[2] == Encoding(SPACE).encode(replace(inside, coordinates={"batch": 7}))[2]
