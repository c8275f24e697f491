"""Give runs another chance: those that failed, and those that a dead engine left marked as training."""

from __future__ import annotations

from collections.abc import Callable

from autorl.engine.progress import Progress, Watch
from autorl.ledger.book import Book
from autorl.ledger.mirror import forget
from autorl.ledger.reader import Reader
from autorl.spec.study import StudySpec
from autorl.trial import Run


def retry_failed(spec: StudySpec, watch: Watch) -> list[Run]:
    """Make all failed runs wait to be trained again, with all their tries; the study goes on from them.

    Optuna's trials cannot change once they have finished, so that the study's are written anew when it goes on. The
    optimizer keeps what it was told: proposals that were made on it stay what they are.

    Raises:
        LeaseHeld: an engine conducts the study.
    """
    with Book(spec, 0, _waiting(watch)) as book, Reader(spec.storage) as reader:
        failed = [run.run for run in reader.runs(spec.study) if run.state == "failed"]
        if failed:
            forget(book)  # first: without failed runs nobody would see again that Optuna's trials are out of date
            book.retry(failed)
    return failed


def retry_stale(spec: StudySpec, watch: Watch) -> list[Run]:
    """Make runs wait that are marked as training although nobody trains them.

    `autorl run` does the same by itself; this is for a study that is not to go on yet.

    Raises:
        LeaseHeld: an engine conducts the study.
    """
    with Book(spec, 0, _waiting(watch)) as book, Reader(spec.storage) as reader:
        stale = [run.run for run in reader.runs(spec.study) if run.state == "running"]
        for run in stale:
            book.release_run(run)
    return stale


def _waiting(watch: Watch) -> Callable[[str], None]:
    return lambda reason: watch(Progress("opening", news=reason, warning=True))
