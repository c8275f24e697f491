"""Validate data against a section: every mistake in words, and what remains of the data without them.

pydantic stops looking at a section's keys together, and everyone after it at the section, as soon as one key is wrong.
So mistakes are taken out of the data and the rest is validated again: a search space with one bad range is still a
search space whose hyperparameters a backend can check.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from autorl.errors import did_you_mean
from autorl.spec.yaml12 import MAX_PROBLEMS, Key, show

_ROUNDS = 8
# What pydantic calls a wrong type, in the words of someone who writes YAML.
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list with at least {min_length} entry",
    "too_long": "no longer than {max_length}",
}
_PATTERNS = {
    "[key]": "letters, digits, '_', '.', '-' and '@', starting with a letter or '_'",
    "": "letters, digits, '.', '_' and '-', starting with a letter or digit, at most 100",
}


def understand(annotation: Any, data: Any, unread: set[Key]) -> tuple[Any, list[tuple[Key, str]]]:
    """Validate data.

    Args:
        annotation: the type to validate against.
        data: plain data.
        unread: keys of it that already have a mistake: their value is unknown, and nothing more is said about them.

    Returns:
        The value, without what was wrong in it, or None where too little remains; and (key, message) for each mistake.
    """
    adapter = TypeAdapter(annotation)
    mistakes: dict[Key, str] = {}
    removed: set[Key] = set()
    for _ in range(_ROUNDS):
        try:
            return adapter.validate_python(data), [*mistakes.items()]
        except ValidationError as error:
            found, meant = _found(annotation, data, error)
        if not removed:
            data = copy.deepcopy(data)
        for key, message in found.items():
            # What is missing because it was taken out is no mistake of the file.
            if not any(gone[: len(key)] == key or key[: len(gone)] == gone for gone in removed | unread):
                mistakes.setdefault(key, message)
        removed |= meant
        for key in found or [()]:
            if not _take_out(data, key, removed):
                return None, [*mistakes.items()]
    return None, [*mistakes.items()]


def _take_out(data: Any, key: Key, removed: set[Key]) -> bool:
    """Remove what stands at a key, or around it where the key itself is missing; False if nothing would remain."""
    if not key:
        return False
    again = key in removed
    removed.add(key)
    *above, last = key
    holder = data
    for part in above:
        try:
            holder = holder[part]
        except (KeyError, IndexError, TypeError):
            return True  # gone already, with something around it
    if not isinstance(holder, dict):
        return _take_out(data, tuple(above), removed)  # the other entries of a list would move
    if key[-2:-1] == ("parameters",) and last in holder and not again:
        # Whoever sets or names this parameter is still checked: a range stands in for it.
        entry = holder[last] if isinstance(holder[last], Mapping) else {}
        keep = {name: entry[name] for name in ("when", "sets") if name in entry and (*key, name) not in removed}
        holder[last] = {"min": 0.0, "max": 1.0, **keep}
        return True
    if last not in holder:
        return _take_out(data, tuple(above), removed)
    del holder[last]
    return True


def _found(annotation: Any, data: Any, error: ValidationError) -> tuple[dict[Key, str], set[Key]]:
    """Return one message for each key, and the keys that unknown ones were probably meant to be."""
    grouped: dict[Key, list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False):
        key = _written(data, tuple(item["loc"]), item["type"] in ("missing", "extra_forbidden"))
        if item["type"] == "mistakes":
            for name, message in item["ctx"]["found"]:
                at = (*key, name) if name else key
                grouped.setdefault(at, []).append({"type": "said", "msg": message, "input": None})
        else:
            grouped.setdefault(key, []).append(dict(item))
        if len(grouped) > MAX_PROBLEMS:
            break
    # A list whose only entry is wrong counts as too short, and a mapping with a wrong entry as no text where either is
    # allowed: these are no second mistakes. Neither is it to miss a key that is there, misspelt.
    wrong_inside = {key[:depth] for key in grouped for depth in range(len(key))}
    messages = {
        key: _message(annotation, key, items)
        for key, items in grouped.items()
        if not (key in wrong_inside and items[0]["type"] in {*_KINDS, "literal_error"})
    }
    meant = {(*key[:-1], _suggested(message)) for key, message in messages.items() if "unknown key" in message}
    return {key: said for key, said in messages.items() if not (key in meant and said.startswith("missing key"))}, meant


def _suggested(message: str) -> str:
    return message.partition("did you mean '")[2].partition("'")[0]


def _written(data: Any, loc: Key, names_last: bool) -> Key:
    """Drop what pydantic adds to a location (members of unions, validators): keep what stands in the file."""
    path: list[Any] = []
    part: Any
    for index, part in enumerate(loc):
        if (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]
        elif not (names_last and index == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _message(annotation: Any, key: Key, items: list[dict[str, Any]]) -> str:
    first = items[0]
    said = [item["msg"] for item in items if item["type"] == "said"]
    if said:
        return "; ".join(dict.fromkeys(said))
    match first["type"]:
        case "extra_forbidden":
            return f"unknown key{did_you_mean(str(key[-1]), _fields(annotation, key[:-1]))}"
        case "missing":
            info = _fields(annotation, key[:-1]).get(str(key[-1]))
            return f"missing key: {info.description}" if info and info.description else "missing key"
        case "value_error":
            return str(first["ctx"]["error"])
        case "string_pattern_mismatch":
            return f"{show(first['input'])} is not allowed; use {_PATTERNS['[key]' if '[key]' in first['loc'] else '']}"
    # The members of a union each complain about the same value: one line says what is allowed.
    items = [item for item in items if item["type"] != "too_short"] or items  # it is short for want of a right entry
    first = items[0]
    wanted = list(dict.fromkeys(_wanted(item) for item in items if item["type"] != "none_required"))
    if "a number" in wanted and "a whole number" in wanted:
        wanted.remove("a whole number")
    value = first["input"]
    literals = [
        item["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
        for item in items
        if "expected" in item.get("ctx", {})
    ]
    if isinstance(value, str) and len(items) == len(literals) == 1:
        return f"{show(value)} is not allowed{did_you_mean(value, literals[0].split(', '))}"
    shown = "empty" if value is None else show(value)
    info = _fields(annotation, key[:-1]).get(str(key[-1])) if key else next(iter(get_args(annotation)[1:]), None)
    optional = isinstance(info, FieldInfo) and not info.is_required()
    advice = "; leave the key out for its default" if value is None and optional else ""
    return f"{shown}: must be {' or '.join(wanted)}{advice}"


def _wanted(item: dict[str, Any]) -> str:
    context = item.get("ctx", {})
    if item["type"] == "literal_error":
        return str(context["expected"])
    if item["type"] in _KINDS:
        return _KINDS[item["type"]].format(**context)
    text: str = item["msg"].removeprefix("Input should be ")
    return text


def _fields(annotation: Any, path: Key) -> dict[str, Any]:
    """Return the keys that the section at a path knows."""
    for part in path:
        section = _section(annotation)
        if get_origin(annotation) in (dict, list, tuple):
            annotation = next((a for a in _inner(annotation)), None)
        elif section is not None and part in section.model_fields:
            info = section.model_fields[str(part)]
            annotation = info.annotation
        else:
            annotation = None
    section = _section(annotation)
    return dict(section.model_fields) if section is not None else {}


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            yield argument
        else:
            yield from _inner(argument)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not get_origin(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next(_inner(annotation), None) if get_origin(annotation) not in (dict, list, tuple) else None
