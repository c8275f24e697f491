"""Read YAML as data: 1.2 scalars, a line for every key, and nothing that could hurt.

PyYAML resolves YAML 1.1 (`1e-5` is a string, `on` is true, `100:110` is a number in base 60), lets duplicate keys win
silently, and expands aliases without bound. Here the parser's events are turned into data directly: scalars follow
the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) plus `1_000` for readable numbers, and
anchors, aliases, tags, several documents, duplicate keys, control characters, and anything larger than `MAX_BYTES`
or deeper than `MAX_DEPTH` are refused while they are read, before any memory is spent on them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autorl.errors import Problem, SpecError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

Key = tuple[str | int, ...]

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
# The bound on digits keeps int() within its own limit; nothing in a study is that large.
_INT = re.compile(r"[-+]?[0-9]{1,300}(_[0-9]{1,300}){0,9}")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)(\.inf|\.Inf|\.INF)")
_NAN = {".nan", ".NaN", ".NAN"}
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Document:
    """Plain data with the place where each of its keys was written.

    Attributes:
        data: dictionaries, lists and scalars.
        places: dotted path (as a tuple) → `file:line`; the empty path is the document itself.
    """

    data: Any
    places: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Return where a key was written, or the nearest key around it that was written."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, "?")


def scalar(text: str) -> Any:
    """Resolve a plain (unquoted) scalar by the YAML 1.2 core schema; `_` may separate digits."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INF.fullmatch(text):
        return float(f"{match[1]}inf")
    return float("nan") if text in _NAN else text


def read(path: Path) -> Document:
    """Read one YAML (or JSON) file.

    Raises:
        SpecError: the file cannot be read, is no YAML, or uses what is refused (see the module).
    """
    shown = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError([Problem(shown, "", f"cannot be read: {error.strerror}")]) from None
    return parse(raw, shown)


def parse(raw: bytes, name: str) -> Document:
    """Parse YAML text; `name` stands for the file in every place and message.

    Raises:
        SpecError: as `read`.
    """
    if len(raw) > MAX_BYTES:
        raise SpecError([Problem(name, "", f"larger than {MAX_BYTES // 1024} KB, which no study needs")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError([Problem(name, "", f"not UTF-8 text (byte {error.start})")]) from None
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise SpecError([Problem(f"{name}:{line}", "", "contains a NUL character")])
    composer = _Composer(name)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise SpecError([Problem(place, "", f"not valid YAML: {error.problem or error.context}")]) from None
    except yaml.YAMLError as error:
        raise SpecError([Problem(name, "", f"not valid YAML: {str(error).splitlines()[0]}")]) from None
    if composer.problems:
        raise SpecError(composer.problems)
    return Document(composer.root, composer.places)


@dataclass
class _Frame:
    """A collection that is still being filled."""

    value: dict[str, Any] | list[Any]
    path: Key
    key: str | None = None


class _Composer:
    """Builds data from parser events, with an explicit stack so that depth costs no recursion."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Any = None
        self.places: dict[Key, str] = {(): f"{name}:1"}
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        place = f"{self.name}:{event.start_mark.line + 1}"
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._refuse(place, "a second document starts here; a file holds one")
            case yaml.AliasEvent():
                self._refuse(place, f"alias '*{event.anchor}': anchors and aliases are not allowed; write it out, or use 'include'")
            case yaml.ScalarEvent():
                self._check(event, place)
                self._scalar(event, place)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._check(event, place)
                self._open({} if isinstance(event, yaml.MappingStartEvent) else [], place)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._stack.pop()
            case _:
                pass

    def _check(self, event: Any, place: str) -> None:
        if event.anchor is not None:
            self._refuse(place, f"anchor '&{event.anchor}': anchors and aliases are not allowed")
        if event.tag is not None:
            self._refuse(place, f"tag '{event.tag}': tags are not allowed")

    def _refuse(self, place: str, message: str) -> None:
        raise SpecError([*self.problems, Problem(place, "", message)])

    def _path(self) -> Key:
        if not self._stack:
            return ()
        top = self._stack[-1]
        return (*top.path, len(top.value) if isinstance(top.value, list) else top.key or "")

    def _scalar(self, event: Any, place: str) -> None:
        top = self._stack[-1] if self._stack else None
        if isinstance(top, _Frame) and isinstance(top.value, dict) and top.key is None:
            self._key(top, event.value, place)
            return
        # `implicit[0]` is true for a plain scalar; a quoted one is a string whatever it says.
        self._put(scalar(event.value) if event.implicit[0] else event.value, place)

    def _key(self, top: _Frame, key: str, place: str) -> None:
        assert isinstance(top.value, dict)
        if key in top.value:
            dotted = ".".join(map(str, (*top.path, key)))
            first = self.places[(*top.path, key)]
            self.problems.append(Problem(place, dotted, f"duplicate key; it was first written at {first}"))
        top.key = key
        self.places[(*top.path, key)] = place

    def _open(self, value: dict[str, Any] | list[Any], place: str) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(place, f"nested deeper than {MAX_DEPTH} levels")
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None:
            self._refuse(place, "a key must be a plain word, not a collection")
        path = self._path()
        self._put(value, place)
        self._stack.append(_Frame(value, path))

    def _put(self, value: Any, place: str) -> None:
        path = self._path()
        self.places.setdefault(path, place)
        if not self._stack:
            self.root = value
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            top.value[top.key or ""] = value
            top.key = None
