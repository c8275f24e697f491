"""Shared by all tests: one thread for arithmetic, as runs have it, and no study of the developer's own."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.pop("AUTORL_STORAGE", None)
