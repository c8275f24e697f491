"""The backend `function`: a function of the user's project trains, `module:train(config, seed, budget, report)`."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autorl.spec.yaml12 import Key
from autorl.training.program.backend import ProgramBackend
from autorl.training.program.reports import ReportError, as_number
from autorl.training.program.run import Call
from autorl.training.program.words import settings
from autorl.training.protocol import Interrupted

# The function whose module is being imported: a module that tunes when it is imported would do so without end.
importing: ContextVar[str | None] = ContextVar("importing", default=None)


@dataclass
class _From:
    """The folder from which functions are imported now, and when the files of the modules from it were written."""

    folder: Path | None = None
    names: dict[str, float | None] = field(default_factory=dict)


_FROM = _From()


@dataclass(frozen=True)
class Budget:
    """How much a function is to train.

    Attributes:
        env_steps: environment steps of a full run, the horizon of schedules.
        until: environment steps after which this call is stopped; below `env_steps` the run pauses.
        points: environment steps at which a full run is evaluated: report at each of them, or more often.
        episodes: episodes that an evaluation is to have.
        checkpoint: file to keep state in. If it exists, it is what an earlier call left: go on from it.
        env: the study's `task.env`.
        env_kwargs: the study's `task.env_kwargs`, with the configuration's values.
    """

    env_steps: int
    until: int
    points: tuple[int, ...]
    episodes: int
    checkpoint: Path
    env: str
    env_kwargs: Mapping[str, Any]


class _Stop(BaseException):
    """Unwinds the user's function, which may well catch every `Exception`."""


class FunctionBackend(ProgramBackend):
    """Trains by calling a function of the user's.

    It is called as `train(config, seed, budget, report)`: the hyperparameters (with dotted keys such as
    `policy.net_arch`), the seed, a `Budget`, and a function to report with: `report(env_steps, {"return": 12.5})`, or
    `report(env_steps, 12.5)` for the study's first metric. A report does not return when the run is to pause or stop.
    Where there is one evaluation, a function may return the number, or such a mapping, instead; whatever else it
    returns is its own.
    """

    key = "function"

    def wrong_program(self, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
        """Say what keeps the function from being called."""
        program = sections["program"]
        try:
            load_function(program.function, Path(program.folder))
        except SystemExit:
            why = "its module ends the process when it is imported: put what it does under if __name__ == '__main__'"
            yield ("program", "function"), f"{program.function} cannot be had: {why}"
        except Exception as error:  # noqa: BLE001 - importing the user's module may raise anything
            yield ("program", "function"), f"{program.function} cannot be had: {type(error).__name__}: {error}"

    def call(self, call: Call) -> None:
        """Call the user's function; see `Training`."""
        program, recipe = call.recipe.program or {}, call.recipe
        function = load_function(program["function"], Path(program["folder"]))
        stopped: set[str] = set()

        def report(env_steps: float, metrics: float | Mapping[str, Any]) -> None:
            named = metrics if isinstance(metrics, Mapping) else {program["asked"][0]: metrics}
            call.reports.take(env_steps, named, call.wall_seconds())
            try:
                call.pulse(lambda: None)
            except Interrupted:
                stopped.add("interrupted")
                raise _Stop from None
            if call.reports.over:
                stopped.add("over")
                raise _Stop

        budget = Budget(
            recipe.env_steps,
            call.until,
            recipe.points,
            recipe.evaluation_episodes,
            call.checkpoint,
            recipe.env,
            copy.deepcopy(dict(recipe.env_kwargs)),
        )
        # Copies: a function may well change what it is given, and other runs are given the same.
        config = copy.deepcopy(settings(recipe))
        try:
            with contextlib.redirect_stdout(call.output):
                last = function(config=config, seed=call.seed, budget=budget, report=report)
                named = isinstance(last, Mapping) and any(name in last for name in program["asked"])
                if recipe.evaluation_points == 1 and not stopped and (named or as_number(last) is not None):
                    report(call.until, last)
        except SystemExit as left:
            if not stopped:
                raise ReportError(f"it called sys.exit({left.code!r})") from left
        except (_Stop, Exception):
            # It may catch the stop too, and raise what it likes.
            if not stopped:
                raise
        if "interrupted" in stopped and "over" not in stopped:
            raise Interrupted
        if not stopped:
            call.reports.end(call.wall_seconds())


def load_function(name: str, folder: Path) -> Callable[..., Any]:
    """Import a function.

    Args:
        name: `module:function`.
        folder: where its module is, unless it is installed.

    Raises:
        TypeError: it is nothing that can be called.
    """
    module, _, attribute = name.partition(":")
    _look_first_in(folder)
    known, before = set(sys.modules), importing.set(name)
    try:
        _import_edited()
        found: Any = importlib.import_module(module)
    finally:
        importing.reset(before)
        new = [name for name in sys.modules if name not in known]
        _FROM.names |= {name: _written(name) for name in new if _within(sys.modules[name], folder)}
    for part in attribute.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def _look_first_in(folder: Path) -> None:
    """Let modules be imported from a folder, and no longer from the one before, whose may have the same names."""
    if _FROM.folder == folder:
        return
    for name in _FROM.names:
        sys.modules.pop(name, None)
    if _FROM.folder is not None and str(_FROM.folder) in sys.path:
        sys.path.remove(str(_FROM.folder))
    _FROM.folder, _FROM.names = folder, {}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _import_edited() -> None:
    """Import again what came from the folder, if a file of it was edited since, as a notebook's user expects."""
    here = [name for name in _FROM.names if name in sys.modules]
    if all(_written(name) == _FROM.names[name] for name in here):
        return
    for name in here:  # Python lists a module once it has been imported whole: after what it imports itself
        written, file = _written(name), getattr(sys.modules[name], "__file__", None)
        if file is not None:  # of an edit within a second, compiled code cannot tell
            Path(importlib.util.cache_from_source(file)).unlink(missing_ok=True)
        importlib.reload(sys.modules[name])
        _FROM.names[name] = written


def _written(name: str) -> float | None:
    file = getattr(sys.modules[name], "__file__", None)
    with contextlib.suppress(OSError):
        return Path(file).stat().st_mtime if file else None
    return None


def _within(module: Any, folder: Path) -> bool:
    """Say whether a module lies in a folder, and is not installed in an environment that does so too."""
    places = [getattr(module, "__file__", None) or "", *map(str, getattr(module, "__path__", ()))]
    library = sysconfig.get_path("stdlib")
    own = [Path(place) for place in places if place and "site-packages" not in place and not place.startswith(library)]
    return any(folder in place.parents or place == folder for place in own)
