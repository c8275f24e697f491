"""Checkpoints of runs: arrays and plain data in MessagePack, so that reading one executes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flax import serialization

from autorl.errors import CheckpointError
from autorl.training.meter import Spent
from autorl.trial import Point, Recipe

FORMAT = 2


@dataclass(frozen=True)
class Saved:
    """A run's state.

    Attributes:
        state: what its engine goes on from.
        curve: its evaluations.
        spent: what it has spent.
        inherited_seconds: wall time that donors spent on it before.
        env_steps: how far it is.
    """

    state: Mapping[str, Any]
    curve: tuple[Point, ...]
    spent: Spent
    inherited_seconds: float
    env_steps: int


def pack(recipe: Recipe, run: Recipe, seed: int, saved: Saved) -> memoryview:
    """Return the bytes of a checkpoint file.

    Args:
        recipe: what the state is of.
        run: what the run that saves it is to train in the end; a donor's recipe may come before that.
        seed: the run's seed.
        saved: the state.
    """
    about = {
        "format": FORMAT,
        "recipe": recipe.fingerprint(seed),
        "run": run.fingerprint(seed),
        "curve": [point.to_dict() for point in saved.curve],
        "spent": asdict(saved.spent),
        "inherited_seconds": saved.inherited_seconds,
        "env_steps": saved.env_steps,
    }
    return memoryview(serialization.msgpack_serialize({"about": json.dumps(about), "state": dict(saved.state)}))


def read(path: Path) -> tuple[str, str, Saved]:
    """Read a checkpoint.

    Returns:
        The fingerprints of the recipe that the state is of and of the run that saved it, and the state.

    Raises:
        CheckpointError: the file is damaged, or of another version.
    """
    try:
        content = serialization.msgpack_restore(path.read_bytes())
        about = json.loads(content["about"])
        curve = tuple(Point.from_dict(point) for point in about["curve"])
        inherited = about["inherited_seconds"]
        saved = Saved(content["state"], curve, Spent(**about["spent"]), inherited, about["env_steps"])
        written_for = about["recipe"], about["run"]
    except Exception as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({type(error).__name__})") from error
    if about["format"] != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {about['format']}, expected {FORMAT}")
    return *written_for, saved
