"""Racing spends its budget by stages, prefers what is good, and says what to expect."""

from __future__ import annotations

import pytest
from conformance.optimizers import OptimizerConformance

from autorl.optimizers.protocol import Method
from autorl.optimizers.race import RACE


class TestRace(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return RACE
