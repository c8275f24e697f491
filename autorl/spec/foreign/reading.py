"""Read YAML and JSON of other tools as they read it, with the line of every key.

autorl's own files follow YAML 1.2 and refuse tags and anchors (`autorl.spec.yaml12`); rl-zoo3's have both. Nothing is
executed and nothing expands without bound here either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autorl.errors import AutorlError, Problem, SpecError
from autorl.spec.yaml12 import MAX_BYTES, Key

_MAX_NODES = 100_000


class _Loader(yaml.SafeLoader):
    """PyYAML's, for which `1e-5` is a number too."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@dataclass(frozen=True)
class Foreign:
    """A file's content.

    Attributes:
        path: the file.
        data: plain data.
        lines: path of a key → its line.
    """

    path: Path
    data: Any
    lines: dict[Key, int]

    def place(self, key: Key) -> str:
        """Return where a key stands, or the nearest one around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.path.name}:{self.lines.get(key, 1)}"


def read(path: Path) -> Foreign:
    """Read a file that holds one mapping.

    Raises:
        SpecError: it cannot be read, is too large, or is no mapping in YAML or JSON.
    """
    shown = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AutorlError(f"'{shown}' cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise SpecError([Problem(shown, "", f"larger than {MAX_BYTES // 1024} KB")])
    try:
        loader = _Loader(raw)
        node = loader.get_single_node()
        lines: dict[Key, int] = {}
        _walk(node, (), lines)
        if _size(node, {}) > _MAX_NODES:
            raise SpecError([Problem(shown, "", f"its aliases expand to more than {_MAX_NODES:,} values")])
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{shown}:{mark.line + 1}" if mark else shown
        raise SpecError([Problem(place, "", f"not valid YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError([Problem(shown, "", f"not valid YAML: {str(error).splitlines()[0]}")]) from None
    if not isinstance(data, dict):
        raise SpecError([Problem(shown, "", "not a mapping")])
    return Foreign(path, data, lines)


def _walk(node: Any, at: Key, lines: dict[Key, int]) -> None:
    if not isinstance(node, yaml.MappingNode) or len(at) > 4:
        return
    for key, value in node.value:
        path = (*at, str(key.value))
        if path not in lines:
            lines[path] = key.start_mark.line + 1
            _walk(value, path, lines)


def _size(node: Any, known: dict[int, int]) -> int:
    """Return how many values a node is when its aliases are written out."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = _MAX_NODES  # of one that contains itself
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
