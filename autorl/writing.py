"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Have a new file written beside another, whose place it takes at the end of the block.

    A link in the place of the other is replaced, never followed. The new file is to be created exclusively, since
    another process may be at it.

    Raises:
        OSError: it cannot be written, as its `strerror` says.
    """
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if not isinstance(error, FileExistsError):
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise
