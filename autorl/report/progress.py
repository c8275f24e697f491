"""A progress bar while the engine works; where there is no terminal, a line for each trial."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from autorl.engine.progress import Progress, Watch
from autorl.report.words import number
from autorl.spec.study import StudySpec


@contextmanager
def watching(spec: StudySpec, console: Console) -> Iterator[Watch]:
    """Show progress until the block ends; yields what the engine is to call."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[steps]}"),
        TextColumn("{task.fields[incumbent]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(spec.study, total=None, steps="", incumbent="")

        def watch(progress: Progress) -> None:
            incumbent = (
                f"best {number(progress.incumbent[1])} (trial {progress.incumbent[0]})" if progress.incumbent else ""
            )
            bar.update(
                task,
                description=f"{spec.study} {progress.phase}",
                completed=progress.env_steps,
                total=max(progress.env_steps_planned, progress.env_steps),
                steps=f"{_short(progress.env_steps)} of {_short(progress.env_steps_planned)} steps",
                incumbent=incumbent,
            )
            if progress.warning:
                console.print(f"[yellow]{escape(progress.news)}[/yellow]")

        yield watch


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._started = console, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if progress.news:
            best = (
                f"; best {number(progress.incumbent[1])} (trial {progress.incumbent[0]})" if progress.incumbent else ""
            )
            seconds = time.monotonic() - self._started
            steps = f"{_short(progress.env_steps)} of {_short(progress.env_steps_planned)} steps"
            done = f"{progress.runs} runs, {steps}"
            self._console.print(f"[{seconds:6.0f} s] {progress.news}{best}; {done}", markup=False, soft_wrap=True)


def _short(steps: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if steps >= size:
            return f"{steps / size:.3g}{unit}"
    return str(steps)
