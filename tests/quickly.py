"""Parameters of which the quick suite runs some and `make test-all` runs all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(names: Iterable[str], *quick: str) -> list[Any]:
    """Return parameters, those not named in `quick` marked slow."""
    listed = list(names)
    assert set(quick) <= set(listed), f"{set(quick) - set(listed)} are none of {listed}"
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in listed]
