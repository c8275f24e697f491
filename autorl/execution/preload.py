"""Imported by the fork server before it forks: whatever the backend initializes once, each run then finds done.

Only for backends that can be forked after they have started (torch can, JAX cannot; `Backend.warm` knows).
"""

from __future__ import annotations

import contextlib
import os

from autorl.plugins import find

BACKEND = "AUTORL_PRELOAD_BACKEND"

if BACKEND in os.environ:
    # A backend that cannot be warmed here fails where it can be told: in the first run.
    with contextlib.suppress(Exception):
        find("autorl.backends", os.environ[BACKEND])().warm()
