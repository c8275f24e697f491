"""Imported by the fork server alone, before it forks: what the backend initializes once, each run then finds done.

Only for backends that can be forked after they have started (torch can, JAX cannot; `Backend.warm` knows).
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

from autorl.execution.process import BACKEND
from autorl.plugins import find

# What a terminal or `timeout` sends to the engine's whole group is for the engine, which then lets the runs save their
# state; a server that ended first would take the ends of its runs with it. It goes when the engine goes.
os.setsid()
_SERVER = os.getpid()


def _stay(number: int, _frame: FrameType | None) -> None:
    """Let what was sent to each process of a study (by systemd, by Slurm) pass the server; a run ends of it."""
    if os.getpid() != _SERVER:  # one that is not listening yet: see `processes`
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


signal.signal(signal.SIGTERM, _stay)

# A backend that cannot be warmed here fails where it can be told: in the first run.
with contextlib.suppress(Exception):
    find("autorl.backends", os.environ[BACKEND])().warm()
