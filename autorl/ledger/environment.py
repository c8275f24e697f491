"""What a study ran on: versions and hardware, recorded with it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

_ALL = ("autorl", "optuna", "smac", "numpy", "sqlalchemy")
_BACKENDS = {
    "sb3": ("torch", "stable-baselines3", "sb3-contrib", "gymnasium"),
    "jax": ("jax", "jaxlib", "flax", "optax", "gymnax", "envpool", "gymnasium"),
    "morl": ("torch", "gymnasium", "mo-gymnasium", "morl-baselines", "moocore"),
    "llm": ("torch", "transformers", "trl", "peft", "reasoning-gym"),
}


def versions(backend: str | None = None) -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result; absent ones are left out.

    Args:
        backend: whose packages; of one that is not known, and of None, those of all.
    """
    found = {"python": platform.python_version()}
    every = dict.fromkeys(package for own in _BACKENDS.values() for package in own)
    for package in (*_ALL, *_BACKENDS.get(backend or "", every)):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return the machine's system, processor, number of cores and memory in bytes."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a kernel interface, not a path of ours
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
