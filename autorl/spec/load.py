"""Load a study or a search space from its file, and report every mistake at once, each with its file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from autorl.errors import Problem, SpecError, did_you_mean
from autorl.spec import configspace
from autorl.spec.space import SearchSpace, same
from autorl.spec.study import SearchSpaceSpec, StudySpec
from autorl.spec.yaml12 import Document, Key, parse, read

MAX_INCLUDES = 8
# Parts of a study that a dotted parameter may address; a bare name is a hyperparameter of the algorithm.
ADDRESSES = ("algorithm.name", "policy.", "task.env_kwargs.")


@dataclass
class Draft:
    """A study file as far as it could be understood.

    Attributes:
        path: the file.
        document: its merged data with places.
        sections: top-level key → validated section, for the sections without a mistake.
        problems: the mistakes found so far; deeper checks add theirs.
    """

    path: Path
    document: Document
    sections: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def report(self, key: Key, message: str) -> None:
        """Add a mistake found at a key."""
        self.problems.append(_problem(self.document, key, message))

    def spec(self) -> StudySpec:
        """Return the study.

        Raises:
            SpecError: there are problems; it carries all of them, in the order of the files.
        """
        if self.problems:
            raise SpecError(_in_order(self.problems, str(self.path)))
        return StudySpec.model_validate(self.sections)


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Read, resolve and check a study file, as far as that needs no backend.

    Args:
        path: the study file.
        overrides: `key=value` with a dotted key; the value is YAML.

    Raises:
        SpecError: with every mistake found.
    """
    return draft_study(path, overrides).spec()


def draft_study(path: Path, overrides: Sequence[str] = ()) -> Draft:
    """Read a study file and validate each section on its own, so that one mistake hides no other.

    Raises:
        SpecError: the file cannot be read at all.
    """
    document = _with_includes(path, ())
    if not isinstance(document.data, dict):
        raise SpecError([Problem(document.place(()), "", "a study file is a mapping of keys to values")])
    draft = Draft(path, document)
    for override in overrides:
        _override(draft, override)
    _attach_space(draft)
    _validate(draft)
    _check_space(draft)
    return draft


def load_space(path: Path) -> SearchSpace:
    """Read a search-space file: autorl's own YAML, or ConfigSpace's JSON or YAML.

    Raises:
        SpecError: with every mistake found.
    """
    file = _space_document(path)
    places = {("search_space", *key): place for key, place in file.places.items()}
    draft = Draft(path, Document({"search_space": file.data}, {(): "", **places}))
    draft.problems += _errors(SearchSpaceSpec, file.data, draft.document, ("search_space",))
    if not draft.problems:
        draft.sections["search_space"] = SearchSpaceSpec.model_validate(file.data)
        _check_space(draft)
    if draft.problems:
        raise SpecError(_in_order(draft.problems, str(path)))
    space: SearchSpace = draft.sections["search_space"].space()
    return space


def _in_order(problems: Sequence[Problem], main: str) -> list[Problem]:
    def position(problem: Problem) -> tuple[bool, str, int]:
        file, _, line = problem.place.rpartition(":")
        return (file != main, file, int(line)) if line.isdigit() else (True, problem.place, 0)

    return sorted(dict.fromkeys(problems), key=position)


def _problem(document: Document, key: Key, message: str) -> Problem:
    place = document.place(key)
    shown = key
    # A mistake inside an included space file is shown with the path inside that file.
    if key[:1] == ("search_space",) and len(key) > 1 and place.rpartition(":")[0] != document.places[()].rpartition(":")[0]:
        shown = key[1:]
    return Problem(place, ".".join(map(str, shown)), message)


def _with_includes(path: Path, seen: tuple[Path, ...]) -> Document:
    if path.resolve() in seen:
        raise SpecError([Problem(str(path), "include", "includes itself: " + " → ".join(p.name for p in (*seen, path)))])
    if len(seen) >= MAX_INCLUDES:
        raise SpecError([Problem(str(path), "include", f"more than {MAX_INCLUDES} files deep")])
    document = read(path)
    if not isinstance(document.data, dict) or "include" not in document.data:
        return document
    names = document.data.pop("include")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpecError([Problem(document.place(("include",)), "include", "must be a path, or a list of paths")])
    merged = Document({}, {(): document.places[()]})
    for name in names:
        base = _with_includes(path.parent / name, (*seen, path.resolve()))
        if not isinstance(base.data, dict):
            raise SpecError([Problem(base.place(()), "", "an included file is a mapping of keys to values")])
        # A space named in an included file is relative to that file.
        if isinstance(base.data.get("search_space"), str):
            base.data["search_space"] = str((path.parent / name).parent / base.data["search_space"])
            base.data["search_space"] = str(Path(base.data["search_space"]).resolve())
        _merge(merged, base, ())
    _merge(merged, document, ())
    return merged


def _merge(into: Document, other: Document, at: Key) -> None:
    """Lay one document over another: mappings are merged, everything else is replaced."""
    for key, value in _at(other.data, at).items():
        path = (*at, key)
        target = _at(into.data, at)
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            into.places[path] = other.places[path]
            _merge(into, other, path)
            continue
        target[key] = value
        for place in [p for p in into.places if p[: len(path)] == path]:
            del into.places[place]
        into.places.update({p: place for p, place in other.places.items() if p[: len(path)] == path})


def _at(data: Any, key: Key) -> Any:
    for part in key:
        data = data[part]
    return data


def _override(draft: Draft, text: str) -> None:
    place = "command line"
    dotted, equals, raw = text.partition("=")
    if not equals or not dotted:
        draft.problems.append(Problem(place, text, "an override is written key=value, such as budget.trials=8"))
        return
    try:
        value = parse(raw.encode(), place)
    except SpecError as error:
        draft.problems += [Problem(place, dotted, problem.message) for problem in error.problems]
        return
    parts: list[str | int] = list(dotted.split("."))
    # A dotted parameter (`policy.net_arch`) is one key of the search space, not a path through it.
    if parts[:2] == ["search_space", "parameters"] and len(parts) > 4:
        parts = [*parts[:2], ".".join(map(str, parts[2:-1])), parts[-1]]
    target = draft.document.data
    for depth, part in enumerate(parts[:-1]):
        if isinstance(target, list) and str(part).isdigit() and int(part) < len(target):
            parts[depth] = int(part)
            target = target[int(part)]
        elif isinstance(target, dict):
            target = target.setdefault(part, {})
        if not isinstance(target, dict | list):
            draft.problems.append(Problem(place, dotted, f"'{'.'.join(map(str, parts[: depth + 1]))}' holds a value, not keys"))
            return
    last = parts[-1]
    if isinstance(target, list):
        if not str(last).isdigit() or int(last) >= len(target):
            draft.problems.append(Problem(place, dotted, f"the list has {len(target)} entries, counted from 0"))
            return
        last = parts[-1] = int(last)
        target[last] = value.data
    else:
        target[last] = value.data
    path = tuple(parts)
    for depth in range(1, len(path)):
        draft.document.places.setdefault(path[:depth], place)
    for key in [key for key in draft.document.places if key[: len(path)] == path]:
        del draft.document.places[key]
    draft.document.places[path] = place


def _attach_space(draft: Draft) -> None:
    data = draft.document.data
    name = data.get("search_space")
    if not isinstance(name, str):
        return
    try:
        space = _space_document(draft.path.parent / name)
    except SpecError as error:
        draft.problems += [
            Problem(draft.document.place(("search_space",)), "search_space", str(problem)) if not problem.key else problem
            for problem in error.problems
        ]
        del data["search_space"]
        draft.sections["search_space"] = None
        return
    data["search_space"] = space.data
    for key, place in space.places.items():
        draft.document.places[("search_space", *key)] = place


def _space_document(path: Path) -> Document:
    document = read(path)
    if isinstance(document.data, dict) and "hyperparameters" in document.data:
        return Document(configspace.to_autorl(document.data, document.place(())), {(): document.place(())})
    if not isinstance(document.data, dict):
        raise SpecError([Problem(document.place(()), "", "a search-space file is a mapping with the key 'parameters'")])
    return document


def _validate(draft: Draft) -> None:
    data = draft.document.data
    missing_space = draft.sections.pop("search_space", ...) is None
    for key in data:
        if key not in StudySpec.model_fields:
            draft.report((key,), f"unknown key{did_you_mean(key, [*StudySpec.model_fields, 'include'])}")
    for name, info in StudySpec.model_fields.items():
        if name not in data:
            if info.is_required() and not (name == "search_space" and missing_space):
                draft.problems.append(Problem(draft.document.place(()), name, f"missing key: {info.description or _first_line(info.annotation)}"))
            elif not info.is_required():
                draft.sections[name] = info.get_default(call_default_factory=True)
            continue
        found = list(_errors(_annotated(name), data[name], draft.document, (name,)))
        draft.problems += found
        if not found:
            draft.sections[name] = TypeAdapter(_annotated(name)).validate_python(data[name])


def _annotated(name: str) -> Any:
    info = StudySpec.model_fields[name]
    return Annotated[info.annotation, info]


def _first_line(annotation: Any) -> str:
    return str(getattr(annotation, "__doc__", "") or "").splitlines()[0].rstrip(".")


def _errors(annotation: Any, data: Any, document: Document, at: Key) -> Iterator[Problem]:
    try:
        TypeAdapter(annotation).validate_python(data)
    except ValidationError as error:
        seen: dict[Key, list[str]] = {}
        for item in error.errors(include_url=False):
            key = _written(data, tuple(item["loc"]))
            seen.setdefault((*at, *key), []).append(_message(annotation, dict(item), (*at, *key), data))
        for key, messages in seen.items():
            # The members of a union each complain about the same value: one line says what is allowed.
            yield _problem(document, key, " or ".join(dict.fromkeys(messages)))


def _written(data: Any, loc: Key) -> Key:
    """Drop what pydantic adds to a location (union members, validators): keep what stands in the file."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif index == len(loc) - 1 and isinstance(data, Mapping) and isinstance(part, str) and "[" not in part:
            pass
        else:
            continue
        path.append(part)
    return tuple(path)


def _message(annotation: Any, item: dict[str, Any], key: Key, data: Any) -> str:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(key[-1]), _fields(annotation, item['loc'], data))}"
    if kind == "missing":
        return "missing key"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        allowed = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"{value!r} is not allowed{did_you_mean(str(value), allowed)}"
    if kind == "string_pattern_mismatch":
        return f"{value!r} is not allowed; letters, digits, '.', '_' and '-', starting with a letter or digit"
    if kind == "model_type":
        return f"{value!r} must be a mapping of keys to values"
    text: str = item["msg"].removeprefix("Input should be ").removeprefix("Input ")
    return f"{_short(value)}: must be {text}" if not text[0].isupper() else f"{_short(value)}: {text}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields(annotation: Any, loc: Key, data: Any) -> list[str]:
    """Return the keys that the model around a location knows."""
    model = annotation
    for part in loc[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        else:
            args = [a for a in getattr(model, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
            model = args[-1] if args else model
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        args = [a for a in getattr(getattr(model, "__value__", model), "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = args[-1] if args else model
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _check_space(draft: Draft) -> None:
    """Check what no single parameter shows: addresses, conditions and their values, circles."""
    spec: SearchSpaceSpec | None = draft.sections.get("search_space")
    if spec is None:
        return
    before = len(draft.problems)
    base: Key = ("search_space", "parameters")
    for name, entry in spec.parameters.items():
        target = entry.sets or name
        if "." in target and not target.startswith(ADDRESSES):
            draft.report((*base, name), f"'{target}' addresses no part of a study; allowed: {', '.join(a + ('X' if a[-1] == '.' else '') for a in ADDRESSES)}")
        for parent, allowed in entry.when.items():
            if parent not in spec.parameters:
                draft.report((*base, name, "when", parent), f"no parameter has this name{did_you_mean(parent, spec.parameters)}")
                continue
            choices = spec.parameters[parent].values
            for value in allowed if isinstance(allowed, list) else [allowed]:
                if choices is not None and not any(same(value, choice) for choice in choices):
                    draft.report((*base, name, "when", parent), f"{parent} is never {value!r}; its values are {choices}")
    if len(draft.problems) > before:
        return
    try:
        spec.space()
    except ValueError as error:
        draft.report(base, str(error))
