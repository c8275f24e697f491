"""The backend `command`: any program trains, told by its arguments and heard through its output."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any

import psutil

from autorl.spec.yaml12 import Key
from autorl.training.program.backend import ProgramBackend
from autorl.training.program.reports import ReportError, as_number
from autorl.training.program.run import Call, Crashed, keeps_state
from autorl.training.program.words import Launch, command_line, fill, split, variables, wrong_words

_LOOK_SECONDS = 0.25
_GRACE_SECONDS = 5.0
# As much as a pipe can hold, so that what was said before one looks is always taken. A longer line is no report.
_MOST_BYTES = 1 << 20
_TAIL_BYTES = 1 << 12
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
Found = Iterator[tuple[Any, Mapping[str, Any]]]


class CommandBackend(ProgramBackend):
    """Trains by running a program of the user's.

    It learns hyperparameters, seed and budget from its arguments or its environment (`AUTORL_SEED`, …), and says how
    well it does in lines of its output or of a file. One that keeps its state stops at `{until}` steps by itself; any
    other need not know when to stop: it is ended (SIGTERM, then SIGKILL) once it has reported the steps asked for.
    """

    key = "command"

    def wrong_program(self, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
        """Find placeholders that stand for nothing, and a program that is not there."""
        found = [*wrong_words(sections)]
        yield from found
        program = sections["program"]
        words = [] if found else split(program.command)
        name = words[0].replace("{python}", sys.executable) if words else ""
        if not found and "{" not in name and not _executable(name, Path(program.folder)):
            near = "; write {python} for the Python that runs autorl" if name.startswith("python") else ""
            yield ("program", "command"), f"'{name}' is no program that can be run in '{program.folder}'{near}"

    def call(self, call: Call) -> None:
        """Run the program; see `Training`."""
        recipe, program = call.recipe, call.recipe.program or {}
        launch = Launch(recipe, call.seed, call.until, call.folder, call.checkpoint)
        reports = program["reports"]
        file = None if reports["file"] is None else Path(program["folder"]) / fill(reports["file"], launch.values)
        if file is not None and file.is_relative_to(call.folder):
            file.unlink(missing_ok=True)  # of another program, whose schedule this one goes on with
        running = subprocess.Popen(
            command_line(launch),
            cwd=program["folder"],
            env={**os.environ, **variables(launch)},
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A worker's programs are killed with it. In the engine's own process a terminal would send them Ctrl-C too.
            process_group=None if os.getsid(0) == os.getpid() else 0,
        )
        try:
            hearing = _Hearing(call, reports, running, file)
            while hearing.listen() and not (call.reports.over and self._may_end(call)):
                call.pulse(hearing.gather)
            if not call.reports.over and _asked_to_stop(running.returncode):
                # Whoever stops all processes of a study stops the program too, perhaps before the study knows of it.
                until = time.monotonic() + _GRACE_SECONDS
                while time.monotonic() < until:
                    call.pulse(hearing.gather)
                    time.sleep(_LOOK_SECONDS)
        finally:
            _end(running)
            for stream in (running.stdout, running.stderr):
                assert stream is not None
                stream.close()
        over, goes_on = call.reports.over, keeps_state(call.recipe) and call.until < call.recipe.env_steps
        if not over or goes_on:  # from a state that it may not have come to keep
            _judge(running.returncode)
        if not over:
            call.reports.end(call.wall_seconds())

    def _may_end(self, call: Call) -> bool:
        """Say whether a program that has reported all it was to may be ended; one that keeps its state ends itself."""
        if not keeps_state(call.recipe):
            return True
        if call.reports.env_steps >= call.until + call.recipe.points[0]:
            raise ReportError(
                f"it went on to {call.reports.env_steps:,} environment steps and was to stop at {call.until:,}: a "
                "program that keeps its state (program.checkpoint) has to stop at {until}"
            )
        return False


class _Hearing:
    """What a program says, on its two streams and in its file."""

    def __init__(
        self, call: Call, reports: Mapping[str, Any], running: subprocess.Popen[bytes], file: Path | None
    ) -> None:
        self._call, self._running = call, running
        self._rest: dict[Any, bytes] = {}
        self._selector = DefaultSelector()
        self._parser = parse = _parser(reports, call.reports.asked)
        # Standard error may hold the reports too: that is where logging writes.
        for stream in (running.stdout, running.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, EVENT_READ)
        self._parse: dict[Any, Callable[[str], Found]] = {
            stream: parse() if file is None else _nothing for stream in (running.stdout, running.stderr)
        }
        self._parse[None] = parse()
        # What is in the file already was written by somebody else, but for the names of a table's columns.
        self._file, self._at, self._head, self._tail, self._heard = file, 0, b"", b"", -1.0
        self._untouched: int | None = None
        if file is not None and file.exists():
            with file.open("rb") as opened:
                self._head = opened.readline()
                self._at = opened.seek(0, os.SEEK_END)
                self._tail = self._last(opened)
                self._untouched = os.fstat(opened.fileno()).st_mtime_ns
            [*self._parse[None](self._head.decode("utf-8", "replace").rstrip("\r\n"))]

    def listen(self) -> bool:
        """Wait a moment for what the program says, and take it; False when it has ended."""
        if self._selector.get_map():
            self._selector.select(_LOOK_SECONDS)
        else:  # it has closed its streams, which says nothing about its work
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running.wait(_LOOK_SECONDS)
        ended = self._running.poll() is not None
        self.gather(ended)
        if ended and self._rest.get(None):
            self._take(None, b"\n")
        return not ended

    def gather(self, ended: bool = False) -> None:
        """Take everything that was said by now, by a program that goes on or has ended."""
        for key in [*self._selector.get_map().values()]:
            self._read(key.fileobj)
        if self._file is not None:
            with contextlib.suppress(FileNotFoundError), self._file.open("rb") as file:
                if self._rewritten(file, ended):
                    # As a table is for another column, or for another run: what was heard is passed over by its steps.
                    self._at, self._head, self._heard = 0, b"", float(self._call.reports.env_steps or -1)
                    self._rest.pop(None, None)
                    self._parse[None] = self._parser()
                file.seek(self._at)
                content = file.read()
                if not self._head.endswith(b"\n"):
                    self._head += content[: content.find(b"\n") + 1 or None]
                self._at += len(content)
                self._tail = self._last(file)
                if content:
                    self._untouched = None
                self._take(None, content)

    def _last(self, file: IO[bytes]) -> bytes:
        """Return the end of what has been read of a file."""
        file.seek(max(0, self._at - _TAIL_BYTES))
        return file.read(self._at - file.tell())

    def _rewritten(self, file: IO[bytes], ended: bool) -> bool:
        """Say whether a file no longer goes on from what was read of it.

        One that another run left, and that is newer and as long as it was when the program has ended, is the same
        results once more.
        """
        found = os.fstat(file.fileno())
        if ended and self._untouched is not None and found.st_size == self._at and found.st_mtime_ns != self._untouched:
            return True
        return file.read(len(self._head)) != self._head or found.st_size < self._at or self._last(file) != self._tail

    def _read(self, stream: IO[bytes] | Any) -> None:
        for _ in range(_MOST_BYTES >> 16):
            content = stream.read(1 << 16)
            if content is None:
                return
            if not content:
                self._selector.unregister(stream)
                self._take(stream, b"\n" if self._rest.get(stream) else b"")
                return
            self._call.output.write(content.decode("utf-8", "replace"))
            self._take(stream, content)

    def _take(self, source: Any, content: bytes) -> None:
        *lines, self._rest[source] = (self._rest.get(source, b"") + content).replace(b"\r", b"\n").split(b"\n")
        self._rest[source] = self._rest[source][-_MOST_BYTES:]
        for line in lines:
            for env_steps, metrics in self._parse[source](line.decode("utf-8", "replace")):
                steps = as_number(env_steps)
                if source is None and steps is not None and steps <= self._heard:
                    continue
                self._call.reports.take(env_steps, metrics, self._call.wall_seconds())


def _parser(reports: Mapping[str, Any], asked: Sequence[str]) -> Callable[[], Callable[[str], Found]]:
    """Return what makes a reader of lines; a table's has to see its header first."""
    steps, named = reports["env_steps"], partial(_metrics, reports)

    def found(values: Mapping[str, Any]) -> Found:
        if steps in values:
            yield values[steps], named(values)

    def objects(line: str) -> Found:
        if line.lstrip().startswith("{"):
            values: dict[str, Any] = {}
            with contextlib.suppress(ValueError, RecursionError):
                values = json.loads(line)
            yield from found(_with_numbers(values, {steps, *asked, *reports["metrics"].values()}))

    def table() -> Callable[[str], Found]:
        header: list[str] = []

        def row(line: str) -> Found:
            cells: list[str] = []
            with contextlib.suppress(csv.Error):  # a field of more than 128 KiB
                cells = next(csv.reader([line]), [])
            if steps in cells:
                header[:] = cells
            elif header and len(cells) == len(header):
                yield from found({key: _number(cell) for key, cell in zip(header, cells, strict=True) if cell})

        return row

    patterns = [re.compile(pattern) for pattern in reports["pattern"]]

    def matches(line: str) -> Found:
        for pattern in patterns:
            for match in pattern.finditer(line):
                values = {key: _number(text) for key, text in match.groupdict().items() if text is not None}
                yield values.get(steps), named(values)

    return {"json": lambda: objects, "csv": table, "pattern": lambda: matches}[reports["format"]]


def _with_numbers(values: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
    """Read the numbers that JSON holds as text, as `json.dumps(..., default=str)` writes NumPy's; only those needed."""
    text = {key: _number(value) for key, value in values.items() if key in names and isinstance(value, str)}
    return {**values, **text}


def _metrics(reports: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured, by the study's names; a column of the program's own under such a name is another."""
    metrics = reports["metrics"]
    taken = {reports["env_steps"], *metrics, *metrics.values()}
    others = {key: value for key, value in values.items() if key not in taken}
    return {**others, **{ours: values[theirs] for ours, theirs in metrics.items() if theirs in values}}


def _nothing(line: str) -> Found:
    del line
    return iter(())


def _number(text: str) -> float | str:
    bare = text.strip().rstrip(",")
    try:
        # A comma that does not group thousands is a decimal one, which is not guessed.
        return float(bare.replace(",", "") if _GROUPED.fullmatch(bare) else bare)
    except ValueError:
        return text


def _asked_to_stop(code: int) -> bool:
    """Say whether a program was ended by a signal that asks to stop; a shell adds 128 to it."""
    asked = (signal.SIGINT, signal.SIGTERM)
    return -code in asked or code - 128 in asked


def _judge(code: int) -> None:
    """Raise what an exit status tells of a program that did not train to the end."""
    if code < 0:
        raise Crashed(f"the program was killed by {signal.Signals(-code).name}")
    if code > 0:
        raise ReportError(f"the program exited with status {code}")


def _end(running: subprocess.Popen[bytes]) -> None:
    """End the program, and what it has started."""
    family = []
    if running.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            head = psutil.Process(running.pid)
            family = [head, *head.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(family, _GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    running.wait()


def _executable(name: str, folder: Path) -> bool:
    return shutil.which(name if os.sep not in name else str(folder / name)) is not None
