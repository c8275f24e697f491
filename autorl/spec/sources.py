"""Gather a study from where it is written: the file, what it includes, its search-space file, the command line."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autorl.errors import Problem, SpecError, did_you_mean
from autorl.spec import configspace
from autorl.spec.parameters import ParameterSpec
from autorl.spec.yaml12 import Document, Key, dotted, parse, printable, read

MAX_INCLUDES = 8
COMMAND_LINE = "command line"
IN_CODE = "study"
STORAGE = "AUTORL_STORAGE"


def study_document(source: Path | Mapping[str, Any], overrides: Sequence[str]) -> Document:
    """Read a study with everything that it names, the overrides laid over it.

    A mistake in a part is noted in the document, and the part's key is unread.

    Args:
        source: the study file, or what would stand in it; paths are then relative to the current directory.
        overrides: `key=value` with a dotted key; the value is YAML.

    The database of a study that names none is `$AUTORL_STORAGE`, where that is set.

    Raises:
        SpecError: the file itself cannot be read, or is no mapping.
    """
    if isinstance(source, Mapping):
        path, document = Path(IN_CODE), Document(plain(source), {(): IN_CODE})
        _refuse_infinite(document, document.data, ())
    else:
        path, document = source, _with_includes(source, ())
    if not isinstance(document.data, dict):
        what = "is empty; a" if document.data is None else "holds no keys; a"
        raise SpecError(
            [*document.problems, Problem(document.place(()), "", f"{what} study file is a mapping of keys to values")]
        )
    # Keys of the space are overridden inside the space, so its file comes first.
    later = []
    for override in overrides:
        if override.partition("=")[0] == "search_space":
            _override(document, override)
        else:
            later.append(override)
    _attach_space(document, path)
    for override in later:
        _override(document, override)
    if "storage" not in document.data and (url := os.environ.get(STORAGE)):
        document.data["storage"], document.places[("storage",)] = url, f"${STORAGE}"
    _resolve_table(document, path)
    _resolve_program(document, path)
    _resolve_trajectories(document, path)
    return document


def space_document(path: Path) -> Document:
    """Read a search-space file: autorl's own, or ConfigSpace's JSON or YAML.

    Raises:
        SpecError: it is neither, or cannot be read.
    """
    document = read(path)
    if isinstance(document.data, dict) and "hyperparameters" in document.data:
        if document.problems:
            raise SpecError(document.problems)
        return configspace.to_autorl(document)
    if not isinstance(document.data, dict):
        message = "a search-space file is a mapping with the key 'parameters'"
        raise SpecError([*document.problems, Problem(document.place(()), "", message)])
    return document


def is_space(path: Path) -> bool:
    """Say whether a file holds a search space rather than a study.

    Raises:
        SpecError: it cannot be read.
    """
    data = read(path).data
    return isinstance(data, dict) and bool({"parameters", "hyperparameters"} & set(data)) and "study" not in data


def _with_includes(path: Path, seen: tuple[Path, ...]) -> Document:
    document = read(path)
    if not isinstance(document.data, dict) or "include" not in document.data:
        return document
    names = document.data.pop("include")
    if ("include",) in document.unread:
        return document
    listed = names if isinstance(names, list) else [names]
    merged = Document({}, {(): document.places[()]}, document.problems)
    for index, name in enumerate(listed):
        at: Key = ("include", index) if isinstance(names, list) else ("include",)
        try:
            base = _included(path, name, (*seen, path.resolve()))
        except SpecError as error:
            for problem in error.problems:
                where = document.place(at)
                merged.problems.append(_placed(problem, where, "include"))
            merged.unread.add(("include",))
        else:
            merged.problems += base.problems
            _merge(merged, base)
    document.problems = []
    _merge(merged, document)
    return merged


def _included(path: Path, name: Any, seen: tuple[Path, ...]) -> Document:
    if not isinstance(name, str):
        raise SpecError([Problem("", "", f"{printable(repr(name), 60)}: must be a path, or a list of paths")])
    target = path.parent / name
    if target.resolve() in seen:
        loop = " → ".join(p.name for p in (*seen, target))
        raise SpecError([Problem("", "", f"'{printable(name)}' includes itself: {printable(loop)}")])
    if len(seen) > MAX_INCLUDES:
        raise SpecError([Problem("", "", f"'{printable(name)}': more than {MAX_INCLUDES} files deep")])
    base = _with_includes(target, seen) if target.is_file() else _unreadable(target)
    if not isinstance(base.data, dict):
        message = "an included file is a mapping of keys to values"
        raise SpecError([*base.problems, Problem(base.place(()), "", message)])
    # A space named in an included file is relative to that file.
    if isinstance(space := base.data.get("search_space"), str):
        base.data["search_space"] = str((target.parent / space).resolve())
    return base


def _unreadable(path: Path) -> Document:
    """Read a file that is expected to fail, and suggest one beside it with nearly its name."""
    try:
        return read(path)
    except SpecError as error:
        (problem,) = error.problems[:1]
        try:
            beside = [p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml", ".json")]
        except (OSError, ValueError):
            beside = []
        hint = did_you_mean(path.name, beside)
        near = hint if "did you mean" in hint else "; the path is relative to the file that names it"
        raise SpecError([Problem(problem.place, "", f"{problem.message}{near}")]) from None


def _merge(into: Document, other: Document) -> None:
    """Lay one document over another: mappings are merged, everything else is replaced."""
    replaced: set[Key] = set()

    def lay(target: dict[str, Any], source: dict[str, Any], at: Key) -> None:
        for key, value in source.items():
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                lay(target[key], value, (*at, key))
            else:
                target[key] = value
                replaced.add((*at, key))

    lay(into.data, other.data, ())

    def stays(key: Key) -> bool:
        return not any(key[:depth] in replaced for depth in range(1, len(key) + 1))

    into.places = {key: place for key, place in into.places.items() if stays(key)}
    into.places.update({key: place for key, place in other.places.items() if key})
    into.unread = {key for key in into.unread if stays(key)} | other.unread


def plain(value: Any) -> Any:
    """Return a copy as a file would hold it, without ranges, tuples, paths and what NumPy has."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _refuse_infinite(document: Document, value: Any, at: Key) -> None:
    """Note numbers that are not finite, which a file could not hold."""
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_infinite(document, entry, (*at, key))
    elif isinstance(value, float) and not math.isfinite(value):
        document.problems.append(Problem(document.place(at), dotted(at), "must be a finite number"))
        document.unread.add(at)


def _attach_space(document: Document, path: Path) -> None:
    """Put the content of a search-space file in the place of its name."""
    name = document.data.get("search_space")
    at: Key = ("search_space",)
    if not isinstance(name, str) or at in document.unread:
        return
    target = path.parent / name
    try:
        space = space_document(target) if _is_file(target) else _unreadable(target)
    except SpecError as error:
        document.problems += [_placed(problem, document.place(at), "search_space") for problem in error.problems]
        document.data["search_space"] = None
        document.unread.add(at)
        return
    document.data["search_space"] = space.data
    document.attach(space, at)


def _resolve_table(document: Document, path: Path) -> None:
    """Make the path of a landscape's table absolute: relative ones are so to the file that they are written in."""
    algorithm, task = document.data.get("algorithm"), document.data.get("task")
    if not isinstance(algorithm, dict) or algorithm.get("backend") != "landscape" or not isinstance(task, dict):
        return
    if isinstance(table := task.get("env"), str):
        file = document.place(("task", "env")).rpartition(":")[0]
        task["env"] = str(((Path(file) if file else path).parent / table).absolute())


def _resolve_program(document: Document, path: Path) -> None:
    """Make the folder of the user's own trainer absolute: a relative one is so to the file that names it."""
    program = document.data.get("program")
    if isinstance(program, dict) and isinstance(folder := program.get("folder", "."), str):
        at: Key = ("program", "folder") if "folder" in program else ("program",)
        file = document.place(at).rpartition(":")[0]
        named = Path(file) if file not in ("", COMMAND_LINE) else path
        program["folder"] = str((named.parent / folder).resolve())


def _resolve_trajectories(document: Document, path: Path) -> None:
    """Make the paths of trajectories absolute, as those above, and say which file is meant."""
    task = document.data.get("task")
    varying = task.get("parameters") if isinstance(task, dict) else None
    for name, entry in varying.items() if isinstance(varying, dict) else ():
        if isinstance(entry, dict) and isinstance(named := entry.get("trajectories"), str):
            file = document.place(("task", "parameters", name, "trajectories")).rpartition(":")[0]
            base = Path(file) if file not in ("", COMMAND_LINE) else path
            found = (base.parent / named).resolve()
            entry["trajectories"] = str(found)
            if entry.get("sha256") is None:
                # What cannot be read is said when its environment is made.
                with contextlib.suppress(OSError, ValueError):
                    entry["sha256"] = hashlib.sha256(found.read_bytes()).hexdigest()


def _placed(problem: Problem, place: str, key: str) -> Problem:
    """Return a problem of another file; one without a line there (it cannot be read) at the line that names it."""
    if problem.place.rpartition(":")[2].isdigit():
        return problem
    return Problem(place, key, str(problem) if problem.place else problem.message)


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False


def _override(document: Document, text: str) -> None:
    key, equals, raw = text.partition("=")
    shown = printable(key)

    def wrong(message: str) -> None:
        document.problems.append(Problem(COMMAND_LINE, shown, message))

    if not equals or not key or "" in key.split("."):
        return wrong("an override is written key=value, such as budget.trials=8")
    if key == "include":
        return wrong("files are included by the study file, not from the command line")
    try:
        value = parse(raw.encode("utf-8", "surrogateescape"), COMMAND_LINE)
    except SpecError as error:
        for problem in error.problems:
            wrong(problem.message)
        return None
    document.problems += [Problem(COMMAND_LINE, shown, problem.message) for problem in value.problems]
    target: Any = document.data
    part: str | int
    done: Key = ()
    rest: Key = tuple(key.split("."))
    while True:
        if isinstance(target, list):
            index = str(rest[0])
            if not (index.isascii() and index.isdecimal() and int(index[:9]) < len(target)):
                return wrong(
                    f"'{dotted(done)}' is a list of {len(target)}, counted from 0; it has no '{printable(index, 40)}'"
                )
            part, rest = int(index), rest[1:]
        elif isinstance(target, dict):
            size = _first_key(target, done, rest)
            part, rest = ".".join(map(str, rest[:size])), rest[size:]
        else:
            return wrong(f"'{dotted(done)}' holds a value, not keys")
        done = (*done, part)
        if not rest:
            break
        if isinstance(target, dict) and target.get(part) is None:
            target[part] = [{}] if done == ("objectives",) else {}
            document.places.setdefault(done, COMMAND_LINE)
            document.unread.discard(done)
        target = target[part]
    target[part] = value.data
    document.attach(Document(value.data, unread=value.unread), done)
    document.places[done] = COMMAND_LINE
    document.unread = {known for known in document.unread if known[: len(done)] != done} | {
        (*done, *inner) for inner in value.unread
    }
    return None


def _first_key(target: dict[str, Any], done: Key, rest: Key) -> int:
    """Say how many parts of a dotted path are the next key: names of parameters have dots themselves."""
    for size in range(len(rest), 0, -1):
        if ".".join(map(str, rest[:size])) in target:
            return size
    if done[:2] == ("search_space", "parameters"):
        if len(done) == 2:
            return next((i for i, part in enumerate(rest) if i and part in ParameterSpec.model_fields), len(rest))
        if done[3:] == ("when",):
            return len(rest)
    return 1
