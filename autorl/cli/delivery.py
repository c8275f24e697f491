"""Where what a command has made goes: to standard output, or into a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from autorl.cli.output import console
from autorl.errors import AutorlError
from autorl.writing import replacing


def deliver(content: str, out: Path | None) -> None:
    """Print what a command has made, or write it into a file and say so."""
    if out is None or is_standard_output(out):
        print(content, end="")
        return
    _write(out, content)
    console().print(f"Wrote {out}")


def is_standard_output(path: Path) -> bool:
    """Say whether a path, such as /dev/stdout, is where this process prints to, redirected or not."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # there is no such file, or what is printed goes to none
        return False


def _write(path: Path, content: str) -> None:
    """Write a file so that it is whole or not there (see `replacing`); a device or a pipe takes it, and stays.

    Raises:
        AutorlError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(content, encoding="utf-8")
            return
        with replacing(path) as temporary, temporary.open("x", encoding="utf-8") as file:
            file.write(content)
    except OSError as error:
        raise AutorlError(f"'{path}' cannot be written: {error.strerror}") from None
