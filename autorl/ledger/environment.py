"""What a study ran on: versions and hardware, recorded with it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

_PACKAGES = (
    "autorl",
    "optuna",
    "torch",
    "stable-baselines3",
    "sb3-contrib",
    "gymnasium",
    "mo-gymnasium",
    "morl-baselines",
    "moocore",
    "numpy",
    "sqlalchemy",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a result; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
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
