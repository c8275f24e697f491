"""Who conducts a study: a lease with a heartbeat. A second engine is refused, a dead one replaced at once."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from pathlib import Path

import psutil

LEASE_SECONDS = 30.0


def me() -> str:
    """Return a new holder's identity as JSON: host, process, when it started, and a token that no other holder has."""
    return json.dumps(
        {
            "host": socket.gethostname(),
            "processes": _processes(),
            "boot": psutil.boot_time(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "token": uuid.uuid4().hex,
        }
    )


def may_take(owner: str | None, heartbeat: float | None) -> bool:
    """Say whether a lease is free.

    It is if nobody holds it, if its holder on this machine is gone, or if one elsewhere has sent no recent heartbeat. A
    container that shares its host's name is elsewhere: a process there has another number here.
    """
    if owner is None or heartbeat is None:
        return True
    holder = json.loads(owner)
    if holder["host"] != socket.gethostname() or holder.get("processes", _processes()) != _processes():
        return time.time() - heartbeat > LEASE_SECONDS
    if abs(holder["boot"] - psutil.boot_time()) > 2:
        return True
    try:
        process = psutil.Process(holder["pid"])
        return bool(process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - holder["started"]) > 0.05)
    except psutil.NoSuchProcess:
        return True


def _processes() -> str | None:
    """Return which processes can be seen from here: Linux's process namespace, or None on other systems."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def describe(owner: str) -> str:
    """Name a lease's holder for a message."""
    holder = json.loads(owner)
    return f"process {holder['pid']} on {holder['host']}"
