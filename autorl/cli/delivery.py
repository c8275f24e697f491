"""Where what a command has made goes: to standard output, or into a file."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from autorl.cli.output import console
from autorl.errors import AutorlError


def deliver(content: str, out: Path | None) -> None:
    """Print what a command has made, or write it into a file and say so; see `_write_atomically`."""
    if out is None or is_standard_output(out):
        print(content, end="")
        return
    _write_atomically(out, content)
    console().print(f"Wrote {out}")


def is_standard_output(path: Path) -> bool:
    """Say whether a path, such as /dev/stdout, is where this process prints to, redirected or not."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # there is no such file, or what is printed goes to none
        return False


def _write_atomically(path: Path, content: str) -> None:
    """Write a file so that it is whole or not there; a link in its place is replaced, never followed.

    A device or a pipe takes what is written, and stays.

    Raises:
        AutorlError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp") if path.name else path
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder; name a file in it")
        if path.exists() and not path.is_file():
            path.write_text(content, encoding="utf-8")
            return
        with temporary.open("x", encoding="utf-8") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        if not isinstance(error, FileExistsError | IsADirectoryError):
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise AutorlError(f"'{path}' cannot be written: {error.strerror}") from None
