"""Eight engines write one SQLite file while a dashboard reads it: nobody meets a lock."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autorl.ledger.reader import Reader
from autorl.report.findings import gather

WRITERS, TRIALS = 8, 20
_WRITE = """
import sys
from pathlib import Path
from small_study import load
from states import Writer
from autorl.ledger.book import Book

folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / name).mkdir()
spec = load(folder / name, f"study={name}", f"storage=sqlite:///{folder}/shared.db")
waited = []
with Book(spec, max_pending=1, waiting=waited.append) as book:
    write = Writer(book)
    for number in range(int(sys.argv[3])):
        write.trial(number, [0.5, 0.25 * number])
    book.enter("finished", 0)
assert not waited, waited
"""


@pytest.mark.slow
def test_eight_writers_and_a_reader_meet_no_lock(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    tests = str(Path(__file__).parents[1])
    first = [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r})\n{_WRITE}", str(tmp_path)]
    subprocess.run([*first, "first", "1"], check=True, timeout=60)  # makes the file's tables
    writers = [
        subprocess.Popen([*first, f"study{index}", str(TRIALS)], stderr=subprocess.PIPE, text=True)
        for index in range(WRITERS)
    ]
    reads, failed, done = [], list[Exception](), threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                with Reader(url) as reader:
                    reads.append(sum(len(gather(reader, record.name).trials) for record in reader.studies()))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        said = [writer.communicate(timeout=120)[1] for writer in writers]
    finally:
        done.set()
        thread.join()
    assert [writer.returncode for writer in writers] == [0] * WRITERS, said
    assert not failed
    assert len(reads) > 1
    with Reader(url) as reader:
        assert {r.name: len(reader.trials(r.name)) for r in reader.studies()} == {
            "first": 1,
            **{f"study{index}": TRIALS for index in range(WRITERS)},
        }
