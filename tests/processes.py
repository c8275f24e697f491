"""What tests ask of other processes."""

from __future__ import annotations

import psutil


def alive(process: psutil.Process | int) -> bool:
    """Say whether a process, or the one of a number, goes on; one that only waits to be buried does not."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return found.is_running() and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
