"""Shared by all tests: one thread for arithmetic, as runs have it, and no study of the developer's own."""

from __future__ import annotations

import os

from hypothesis import settings

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.pop("AUTORL_STORAGE", None)
# As the backend does when it is first made; whoever computes in JAX before that would start it with all threads.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
# The same examples each time, however slow the machine is.
settings.load_profile("ci")
