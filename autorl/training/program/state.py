"""The checkpoint of a run of the user's trainer: the file that the trainer keeps, and what it had reported by then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autorl.errors import CheckpointError
from autorl.training.meter import Spent
from autorl.training.resumption import Origin

FORMAT = 1


def pack(origin: Origin, reported: Mapping[str, Any], content: bytes) -> memoryview:
    """Return a checkpoint: a line of JSON, and the trainer's own file as it is."""
    head = {"format": FORMAT, "origin": asdict(origin), "reported": dict(reported), "bytes": len(content)}
    return memoryview(json.dumps(head).encode() + b"\n" + content)


def unpack(path: Path) -> tuple[Origin, dict[str, Any], bytes]:
    """Return what `pack` was given.

    Raises:
        CheckpointError: the file is none of its files, or damaged.
    """
    try:
        line, _, content = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        origin = Origin(**{**head["origin"], "spent": Spent(**head["origin"]["spent"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({type(error).__name__})") from error
    if head["format"] != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {head['format']}, expected {FORMAT}")
    if len(content) != head["bytes"]:
        raise CheckpointError(f"{path}: damaged checkpoint ({len(content):,} of {head['bytes']:,} bytes)")
    return origin, head["reported"], content
