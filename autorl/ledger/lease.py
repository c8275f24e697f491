"""Who conducts a study: a lease with a heartbeat. A second engine is refused, a dead one replaced at once."""

from __future__ import annotations

import json
import os
import socket
import time

import psutil

from autorl.ledger.reader import LEASE_SECONDS


def me() -> str:
    """Return this process's identity: host, process and when it started, as JSON."""
    return json.dumps(
        {
            "host": socket.gethostname(),
            "boot": psutil.boot_time(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
        }
    )


def may_take(owner: str | None, heartbeat: float | None) -> bool:
    """Say whether a lease is free: never held, given back, its heartbeat old, or its process on this machine gone."""
    if owner is None or heartbeat is None or time.time() - heartbeat > LEASE_SECONDS:
        return True
    holder = json.loads(owner)
    if holder["host"] != socket.gethostname():
        return False
    if abs(holder["boot"] - psutil.boot_time()) > 2:
        return True
    try:
        process = psutil.Process(holder["pid"])
        return bool(process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - holder["started"]) > 0.05)
    except psutil.NoSuchProcess:
        return True


def describe(owner: str) -> str:
    """Name a lease's holder for a message."""
    holder = json.loads(owner)
    return f"process {holder['pid']} on {holder['host']}"
