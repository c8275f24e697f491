"""What becomes of a run that failed: how often each class of failure is tried again, and when a person should look."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from autorl.ledger.records import Attempt
from autorl.trial import FailureClass

RETRIES: Mapping[FailureClass, int] = {
    "diverged": 0,  # the configuration's own doing: the same seed would diverge again
    "exception": 1,
    "crash": 2,
    "out_of_memory": 1,  # alone on the machine
    "hang": 1,
}
# So many trials that end with one traceback are no accident: the study pauses rather than fail to its end.
SAME_TRACEBACK = 3
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]*)", line (?P<line>\d+), in (?P<function>.*)$', re.MULTILINE)


def again(error_class: FailureClass, tries: Sequence[Attempt]) -> bool:
    """Say whether a run is tried again after a failure.

    Args:
        error_class: of the latest failure.
        tries: all failed attempts of the run, the latest included.
    """
    return sum(attempt.error_class == error_class for attempt in tries) <= RETRIES[error_class]


def fingerprint(traceback: str) -> str:
    """Return what tracebacks have in common that come from the same place: their frames and the kind of exception.

    The message is left out, since it may hold numbers that differ from run to run.
    """
    frames = [(match["file"], match["line"], match["function"]) for match in _FRAME.finditer(traceback)]
    raised = [line for line in traceback.strip().splitlines() if line and not line[0].isspace()][-1:]
    kind = raised[0].partition(":")[0] if raised else ""
    return hashlib.sha256(repr((frames, kind)).encode()).hexdigest()[:16]
