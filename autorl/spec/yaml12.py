"""Read YAML as data: 1.2 scalars, a line for every key, and nothing that could hurt.

PyYAML resolves YAML 1.1 (`1e-5` is a string, `on` is true, `100:110` is a number in base 60), lets duplicate keys win
silently, and expands aliases without bound. Here the parser's events are turned into data directly: scalars follow
the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) plus `1_000` for readable numbers. Duplicate
keys, anchors, aliases, tags, numbers that are not finite and whole numbers beyond 64 bits are mistakes: they are noted
with their lines, nothing is expanded, and reading goes on, so that a file's other mistakes are found too. Several
documents, control characters, and anything larger than `MAX_BYTES` or deeper than `MAX_DEPTH` end the reading at once,
before memory is spent on them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autorl.errors import Problem, SpecError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_PROBLEMS = 100
MAX_INT = 2**63 - 1

Key = tuple[str | int, ...]

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)(\.inf|\.Inf|\.INF)")
_NAN = {".nan", ".NaN", ".NAN"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Document:
    """Plain data with the place where each of its keys was written.

    Attributes:
        data: dictionaries, lists and scalars.
        places: dotted path (as a tuple) → `file:line`; the empty path is the document itself.
        problems: mistakes that reading went on after.
        unread: paths among them whose value is unknown (an alias, say), so that nothing more can be said about it.
    """

    data: Any
    places: dict[Key, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Key] = field(default_factory=set)

    def place(self, key: Key) -> str:
        """Return where a key was written, or the nearest key around it that was written."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, "?")

    def attach(self, other: Document, at: Key) -> None:
        """Take over where another document's keys were written, and its mistakes; its data stands at `at` here."""
        self.places = {key: place for key, place in self.places.items() if len(key) <= len(at) or key[: len(at)] != at}
        self.places.update({(*at, *key): place for key, place in other.places.items() if key or not at})
        self.problems += other.problems
        self.unread |= {(*at, *key) for key in other.unread}


def scalar(text: str) -> Any:
    """Resolve a plain (unquoted) scalar by the YAML 1.2 core schema; `_` may separate digits.

    Raises:
        ValueError: a number that is not finite, or a whole one beyond 64 bits; the message says so.
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return _whole(text, 10)
    if _BASED.fullmatch(text):
        return _whole(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(found := float(text)):
        return found
    if _FLOAT.fullmatch(text) or _INF.fullmatch(text) or text in _NAN:
        raise ValueError("must be a finite number")
    return text


def _whole(text: str, base: int) -> int:
    # The length is looked at first: int() takes long over very long numbers, or refuses them.
    if len(text) > 100 or abs(number := int(text, base)) > MAX_INT:
        raise ValueError("a whole number of at most 64 bits is meant; quote it if it is text")
    return number


def dump(data: Any) -> str:
    """Write plain data as YAML that `read` reads back the same: text that looks like a number is quoted."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def inline(data: Any) -> str:
    """Write plain data as `dump` does, on one line."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=math.inf, allow_unicode=True, default_flow_style=True)
    return str(text).removesuffix("\n").removesuffix("\n...")


class _Dumper(yaml.SafeDumper):
    """PyYAML's, which knows YAML 1.1 only and would write the text '1e-5' without quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        plain = isinstance(scalar(text), str)
    except ValueError:
        plain = False
    style = None if plain else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style if text.isprintable() else '"')


_Dumper.add_representer(str, _quoted)


def read(path: Path) -> Document:
    """Read one YAML (or JSON) file.

    Raises:
        SpecError: the file cannot be read, is no YAML, or uses what is refused (see the module).
    """
    shown = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        why = error.strerror if isinstance(error, OSError) else error
        raise SpecError([Problem(printable(shown), "", f"cannot be read: {why}")]) from None
    return parse(raw, shown)


def parse(raw: bytes, name: str) -> Document:
    """Parse YAML text; `name` stands for the file in every place and message.

    Raises:
        SpecError: as `read`.
    """
    if len(raw) > MAX_BYTES:
        raise SpecError([Problem(name, "", f"larger than {MAX_BYTES // 1024} KB, which no study needs")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"{name}:{raw[: error.start].count(10) + 1}"
        raise SpecError(
            [Problem(place, "", f"not UTF-8 text (byte 0x{raw[error.start]:02x}); save it as UTF-8")]
        ) from None
    if found := _CONTROL.search(text):
        place = f"{name}:{text[: found.start()].count(chr(10)) + 1}"
        raise SpecError([Problem(place, "", f"contains the control character {found[0]!r}; remove it")])
    composer = _Composer(name)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        what = " ".join(part for part in (error.context, error.problem) if part)
        broken = Problem(place, "", f"not valid YAML: {what}{_hint(text, mark, what)}")
        raise SpecError([*composer.problems, broken]) from None
    except yaml.YAMLError as error:
        raise SpecError(
            [*composer.problems, Problem(name, "", f"not valid YAML: {str(error).splitlines()[0]}")]
        ) from None
    return Document(composer.root, composer.places, composer.problems, composer.unread)


def _hint(text: str, mark: Any, what: str) -> str:
    """Return what to do about a syntax error, for the common ones."""
    line = text.split("\n")[mark.line] if mark and mark.line <= text.count("\n") else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; indent with spaces, not tabs"
    if "mapping values are not allowed" in what:
        return "; quote a value that contains ': ', and indent the keys of one section alike"
    if "could not find expected ':'" in what:
        return "; write 'key: value', with a space after the colon"
    if "flow" in what:
        return "; look for a missing comma or closing bracket"
    if "block mapping" in what or "block collection" in what:
        return "; indent the keys of one section alike"
    return ""


def printable(text: str, limit: int = 200) -> str:
    """Return text as one line of printable characters, cut to `limit`: what a file says may go to a terminal."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def show(value: Any) -> str:
    """Return a value as a file would write it, on one short line."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case str():
            text = f"'{value[:60]}'"
        case list() | tuple():
            text = f"[{', '.join(show(inner) for inner in value[:8])}{', …' if len(value) > 8 else ''}]"
        case dict():
            entries = [f"{name}: {show(inner)}" for name, inner in [*value.items()][:8]]
            text = f"{{{', '.join(entries)}{', …' if len(value) > 8 else ''}}}"
        case _:
            text = repr(value)
    return printable(text, 60)


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
        self.unread: set[Key] = set()
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
                message = f"alias '*{event.anchor}': aliases are not allowed; write it out, or use 'include'"
                if self._awaits_key():
                    self._refuse(place, message)
                self._unknown(place, message)
                self._put(None, place)
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
            self._note(place, self._path(), f"anchor '&{event.anchor}': anchors are not allowed; remove it")
        if event.tag is not None:
            self._unknown(place, f"tag '{event.tag}': tags are not allowed; remove it")

    def _refuse(self, place: str, message: str) -> None:
        raise SpecError([*self.problems, Problem(place, "", printable(message))])

    def _note(self, place: str, key: Key, message: str) -> None:
        self.problems.append(Problem(place, dotted(key), printable(message, 400)))
        if len(self.problems) >= MAX_PROBLEMS:
            self._refuse(place, f"{MAX_PROBLEMS} mistakes so far; the rest of the file was not read")

    def _unknown(self, place: str, message: str) -> None:
        self.unread.add(self._path())
        self._note(place, self._path(), message)

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _path(self) -> Key:
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return top.path if top.key is None else (*top.path, top.key)

    def _scalar(self, event: Any, place: str) -> None:
        if _SURROGATE.search(event.value):
            self._refuse(place, "half of a surrogate pair, which is no character")
        if self._awaits_key():
            self._key(self._stack[-1], event.value, place)
            return
        value = event.value
        # `implicit[0]` is true for a plain scalar; a quoted one is a string whatever it says.
        if event.implicit[0]:
            try:
                value = scalar(event.value)
            except ValueError as error:
                self._unknown(place, f"{printable(event.value, 40)}: {error}")
        self._put(value, place)

    def _key(self, top: _Frame, key: str, place: str) -> None:
        assert isinstance(top.value, dict)
        if key in top.value:
            first = self.places[(*top.path, key)]
            self._note(place, (*top.path, key), f"duplicate key; it was first written at {first}; keep one")
        top.key = key
        self.places[(*top.path, key)] = place

    def _open(self, value: dict[str, Any] | list[Any], place: str) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(place, f"nested deeper than {MAX_DEPTH} levels")
        if self._awaits_key():
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
            assert top.key is not None
            top.value[top.key] = value
            top.key = None


def dotted(key: Key) -> str:
    """Return a key as messages show it."""
    return printable(".".join(map(str, key)))
