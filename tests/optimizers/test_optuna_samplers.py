"""Optuna's samplers keep the promises of optimizers, and TPE finds what random search does not."""

from __future__ import annotations

import numpy as np
import pytest
from conformance.optimizers import OptimizerConformance, drive, score

from autorl.optimizers.optuna_samplers import RANDOM, TPE
from autorl.optimizers.protocol import Method


class TestRandom(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return RANDOM


class TestTpe(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return TPE


def test_tpe_learns_from_results() -> None:
    def late_mean(method: Method, seed: int) -> float:
        return float(np.mean([score(p.config) for p in drive(method, seed, 60).proposals[30:]]))

    gains = [late_mean(TPE, seed) - late_mean(RANDOM, seed) for seed in range(5)]
    assert min(gains) > 0


def test_random_covers_the_space_as_its_scales_say() -> None:
    found = drive(RANDOM, count=400).proposals
    rates = np.log10([p.config.values["rate"] for p in found])
    assert np.histogram(rates, bins=4, range=(-5, -1))[0].min() > 70
    assert {p.config.values["batch"] for p in found} == {8, 16, 32, 64, 128, 256}
    assert sum(p.config.values["clip"] for p in found) == pytest.approx(200, abs=50)
