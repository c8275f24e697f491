"""Every error that autorl raises on purpose.

```
AutorlError              a user can act on it: the command line prints it and exits 2, without a traceback
├── SpecError            a study or search-space file is wrong; carries every Problem found in it
├── PluginNotFound       a name that no installed plugin has
├── StorageError         the database cannot be used as asked (no such study, another spec under that name, …)
│   ├── LeaseHeld        another engine conducts this study
│   └── Fenced           this engine has lost its lease: it must stop writing
├── StudyPaused          a study cannot go on without a person, who is told why
├── CheckpointError      a checkpoint is missing, damaged, or belongs to another configuration
├── ExportError          a trial cannot be written in the format asked for
└── TrackerError         a tracker is away, or takes no runs
```

Anything else that escapes is a defect of autorl: the command line lets its traceback through and exits 1.
A run that fails in training is no exception here; it is data (`autorl.trial.RunResult.status`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class AutorlError(Exception):
    """A mistake that the user can act on."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a file: where, what, and what to do.

    Attributes:
        place: `file:line`, or `command line` for an override.
        key: dotted path of the key inside the document, empty for the document itself.
        message: what is wrong with the value, and what is allowed.
    """

    place: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"


class SpecError(AutorlError):
    """A file is wrong; `problems` holds every mistake found in it, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class PluginNotFound(AutorlError):
    """No installed plugin has this name."""


class StorageError(AutorlError):
    """The database cannot be used as asked."""


class LeaseHeld(StorageError):
    """Another live engine conducts this study."""


class Fenced(StorageError):
    """Another engine has taken this study over; nothing more may be written."""


class StudyPaused(AutorlError):
    """A study cannot go on without a person.

    Attributes:
        fingerprint: what the failures have in common; once somebody has gone on, it does not pause the study again.
    """

    def __init__(self, reason: str, fingerprint: str) -> None:
        super().__init__(reason)
        self.fingerprint = fingerprint


class CheckpointError(AutorlError):
    """A checkpoint is missing, damaged, or was written for another configuration."""


class ExportError(AutorlError):
    """A trial cannot be written in the format asked for."""


class TrackerError(AutorlError):
    """A tracker is away, or takes no runs; what it holds it keeps."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or the list of what is allowed.

    Args:
        word: what was written.
        known: what could have been written.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; allowed: {', '.join(names)}" if names else ""
