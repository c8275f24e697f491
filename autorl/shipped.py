"""Find the folders that ship with autorl: in an installed package beside the code, in a checkout beside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).parent


def folder(name: Literal["dashboard", "search_spaces", "studies"]) -> Path:
    """Return the path of a shipped folder."""
    packaged = _PACKAGE / "_shipped" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
