"""What runs share is made by the first that needs it and kept in the user's cache, where the others find it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_WAIT_SECONDS = 0.05


def cache_folder() -> Path:
    """Return the user's folder for what runs of language models share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "autorl" / "llm"


def made_once(
    kind: str,
    identity: object,
    make: Callable[[], T],
    dump: Callable[[T], bytes],
    load: Callable[[bytes], T],
    alive: Callable[[], None],
) -> T:
    """Return something from the cache, or make it if it is not there or damaged; without a folder it is only made.

    Args:
        kind: what it is; files are named after it.
        identity: all that it follows from, as data for JSON.
        make: makes it.
        dump: writes it down.
        load: the other way; whatever it raises means that the file is damaged.
        alive: called every so often while another process makes it.
    """
    name = hashlib.sha256(json.dumps(identity, sort_keys=True, default=repr).encode()).hexdigest()[:32]
    file = cache_folder() / f"{kind}-{name}"
    with _locked(file, alive):
        with contextlib.suppress(Exception):
            return load(file.read_bytes())
        made = make()
        part = file.with_suffix(".part")
        with contextlib.suppress(OSError):
            part.write_bytes(dump(made))
            part.replace(file)
    return made


@contextlib.contextmanager
def _locked(file: Path, alive: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time make it, so that the others find it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_suffix(".lock").open("w")
    except OSError:
        yield
        return
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                alive()
                time.sleep(_WAIT_SECONDS)
        yield
