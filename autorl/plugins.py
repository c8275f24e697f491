"""Find a backend, optimizer or executor by name, built in or installed, through Python entry points."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from autorl.errors import PluginNotFound, did_you_mean

Group = Literal["autorl.backends", "autorl.optimizers", "autorl.executors"]


def names(group: Group) -> list[str]:
    """Return the names installed in a group, sorted; nothing is imported."""
    return sorted(_installed(group))


def find(group: Group, name: str) -> Any:
    """Import and return the object that an entry point names.

    Raises:
        PluginNotFound: no entry point of the group has this name; the nearest one is suggested.
    """
    found = _installed(group)
    if name not in found:
        kind = group.removeprefix("autorl.").removesuffix("s")
        raise PluginNotFound(f"unknown {kind} '{name}'{did_you_mean(name, found)}")
    return found[name].load()


@cache
def _installed(group: Group) -> dict[str, EntryPoint]:
    # Reading what all installed packages offer takes longer than starting a run.
    return {entry.name: entry for entry in entry_points(group=group)}
