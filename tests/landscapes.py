"""A small table of made-up results, with everything that a real one has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CONFIGS, SEEDS, POINTS = 40, 6, 6
FAILED = 7
"""The configuration whose run with seed 0 fails at its fourth evaluation."""


def configs() -> list[dict[str, Any]]:
    """Return the configurations: a logarithmic column, whole numbers, choices, a constant, a condition."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(CONFIGS):
        target = bool(generator.random() < 0.5)
        found.append(
            {
                "learning_rate": float(10 ** generator.uniform(-5, -1)),
                "gamma": float(1 - 10 ** generator.uniform(-3, -1)),
                "batch_size": float(generator.choice([32, 64, 128])),
                "buffer_size": float(generator.integers(1000, 100_000)),
                "target": target,
                "tau": float(generator.uniform(0.01, 1)) if target else 0.0,
                "frozen": 0.5,
            }
        )
    return found


def returns() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return learning curves: best at a learning rate of 1e-3, with noise."""
    rates = np.log10([config["learning_rate"] for config in configs()])
    rise = np.arange(1, POINTS + 1) / POINTS
    noise = np.random.default_rng(1).normal(0, 1, (CONFIGS, SEEDS, POINTS))
    found = (10 * (2 - np.abs(rates + 3))[:, None, None] * rise + noise).astype(np.float32)
    found[FAILED, 0, 3:] = np.nan
    return found


def write_landscape(path: Path) -> Path:
    """Write the table."""
    np.savez_compressed(path, returns=returns(), configs=json.dumps(configs()))
    return path
