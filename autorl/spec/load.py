"""Load a study or a search space from its file, and report every mistake at once, each with its file and line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from autorl.errors import Problem, SpecError, did_you_mean
from autorl.spec.parameters import ParameterSpec, SearchSpaceSpec
from autorl.spec.sources import IN_CODE, space_document, study_document
from autorl.spec.space import Choice, SearchSpace, identity
from autorl.spec.study import StudySpec
from autorl.spec.understand import understand
from autorl.spec.yaml12 import MAX_PROBLEMS, Document, Key, dotted, printable, show

# Parts of a study that a dotted parameter may address; a bare name is a hyperparameter of the algorithm.
ADDRESSES = ("algorithm.name", "policy.", "task.env_kwargs.", "curriculum.")
_SPACE = ("search_space",)


@dataclass
class Draft:
    """A study file as far as it could be understood.

    Attributes:
        path: the file.
        document: its merged data with places.
        sections: top-level key → validated section. A section with mistakes is there without them, so that deeper
            checks find the other mistakes in it; it is absent where too little remains.
        repaired: the sections that had mistakes: what follows from such a section as a whole cannot be told.
        problems: the mistakes found so far; deeper checks add theirs.
    """

    path: Path
    document: Document
    sections: dict[str, Any] = field(default_factory=dict)
    repaired: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def report(self, key: Key, message: str) -> None:
        """Add a mistake found at a key, unless it has one: its value is then not what was meant."""
        problem = Problem(self.document.place(key), self._shown(key), printable(message, 600))
        if not any((known.place, known.key) == (problem.place, problem.key) for known in self.problems):
            self.problems.append(problem)

    def spec(self) -> StudySpec:
        """Return the study.

        Raises:
            SpecError: there are problems; it carries all of them, in the order of the files.
        """
        self._stop_at_problems()
        return StudySpec.model_validate(self.sections)

    def space(self) -> SearchSpace:
        """Return the search space.

        Raises:
            SpecError: as `spec`.
        """
        self._stop_at_problems()
        spec: SearchSpaceSpec = self.sections["search_space"]
        return spec.space()

    def understand(self, name: str, annotation: Any) -> None:
        """Validate one top-level key and take its section over."""
        data = self.document.data[name]
        unread = {key[1:] for key in self.document.unread if key[:1] == (name,)}
        value, mistakes = understand(annotation, data, unread)
        for key, message in mistakes:
            self.report((name, *key), message)
        if value is not None and () not in unread:
            self.sections[name] = value
        if mistakes or unread:
            self.repaired.add(name)

    def _shown(self, key: Key) -> str:
        # A mistake inside a search-space file is shown with the path inside that file.
        main = self.document.places[()].rpartition(":")[0]
        place = self.document.place(key)
        inside = len(key) > 1 and key[:1] == _SPACE and place.rpartition(":")[0] not in (main, "")
        return dotted(key[1:] if inside else key)

    def _stop_at_problems(self) -> None:
        if not self.problems:
            return
        problems = _in_order(self.problems, str(self.path))
        if len(problems) > MAX_PROBLEMS:
            more = f"and {len(problems) - MAX_PROBLEMS} more mistakes"
            problems = [*problems[:MAX_PROBLEMS], Problem(str(self.path), "", more)]
        raise SpecError(problems)


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Read, resolve and check a study file, as far as that needs no backend.

    Args:
        path: the study file.
        overrides: `key=value` with a dotted key; the value is YAML.

    Raises:
        SpecError: with every mistake found.
    """
    return draft_study(path, overrides).spec()


def draft_study(source: Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Draft:
    """Read a study and validate each section on its own, so that one mistake hides no other.

    Args:
        source: its file, or what would stand in it.
        overrides: `key=value` with a dotted key; the value is YAML.

    Raises:
        SpecError: the file cannot be read at all.
    """
    document = study_document(source, overrides)
    path = Path(IN_CODE) if isinstance(source, Mapping) else source
    draft = Draft(path, document, problems=list(document.problems))
    unknown = [key for key in document.data if key not in StudySpec.model_fields and (key,) not in document.unread]
    misspelt = set()
    for key in unknown[: 2 * MAX_PROBLEMS]:
        draft.report((key,), f"unknown key{did_you_mean(key, [*StudySpec.model_fields, 'include'])}")
        misspelt.update(difflib.get_close_matches(key, StudySpec.model_fields, n=1))
    for name, info in StudySpec.model_fields.items():
        if name in document.data:
            draft.understand(name, Annotated[info.annotation, info])
        elif not info.is_required():
            draft.sections[name] = info.get_default(call_default_factory=True)
        elif name not in misspelt and ("include",) not in document.unread:  # it may stand in a file that was not read
            draft.report((name,), f"missing key: {info.description}")
    _check_space(draft)
    _check_objectives(draft)
    return draft


def load_space(path: Path) -> SearchSpace:
    """Read a search-space file: autorl's own YAML, or ConfigSpace's JSON or YAML.

    Raises:
        SpecError: with every mistake found.
    """
    file = space_document(path)
    draft = Draft(path, Document({"search_space": file.data}, {(): "", _SPACE: file.place(())}))
    draft.document.attach(file, _SPACE)
    draft.problems += file.problems
    draft.understand("search_space", SearchSpaceSpec)
    _check_space(draft)
    return draft.space()


def _in_order(problems: Sequence[Problem], main: str) -> list[Problem]:
    def position(problem: Problem) -> tuple[bool, str, int]:
        file, _, line = problem.place.rpartition(":")
        return (file != main, file, int(line)) if line.isdigit() else (problem.place != main, problem.place, 0)

    return sorted(dict.fromkeys(problems), key=position)


def _check_objectives(draft: Draft) -> None:
    """Report objectives that cannot be told apart."""
    known: list[str] = []
    for index, objective in enumerate(draft.sections.get("objectives") or ()):
        if objective.name in known:
            draft.report(("objectives", index), f"'{objective.name}' is an objective already; leave one of them out")
        known.append(objective.name)


def _check_space(draft: Draft) -> None:
    """Check what no single parameter shows: addresses, conditions and their values, circles, keys set twice.

    Conditions with a mistake are taken out of the draft's section, so that it is a search space for those who look at
    it next.
    """
    spec: SearchSpaceSpec | None = draft.sections.get("search_space")
    if spec is None:
        return
    parameters = dict(spec.parameters)
    for name, entry in spec.parameters.items():
        target = entry.sets or name
        if "." in target and not (target == "algorithm.name" or target.startswith(ADDRESSES[1:])):
            key = ("sets",) if entry.sets else ()
            allowed = ", ".join(address + ("…" if address[-1] == "." else "") for address in ADDRESSES)
            draft.report(
                (*_SPACE, "parameters", name, *key), f"'{target}' addresses no part of a study; allowed: {allowed}"
            )
        when = {}
        for parent, allowed_values in entry.when.items():
            if message := _wrong_condition(spec, draft, parent, allowed_values):
                draft.report((*_SPACE, "parameters", name, "when", parent), message)
            # A misspelt parent stays a parent in the draft, or it would be taken for a misspelt hyperparameter.
            for meant in [parent] if parent in spec.parameters else difflib.get_close_matches(parent, parameters, n=1):
                when[meant] = allowed_values
        parameters[name] = entry.model_copy(update={"when": when})
    sound = SearchSpaceSpec.model_construct(parameters=parameters)
    while circle := sound.circle():
        draft.report(
            (*_SPACE, "parameters", circle[0], "when"),
            f"the conditions go round in a circle: {' → '.join(circle)}; remove one of them",
        )
        parameters[circle[0]] = parameters[circle[0]].model_copy(update={"when": {}})
    draft.sections["search_space"] = sound
    _check_targets(draft, sound.space())


def _wrong_condition(spec: SearchSpaceSpec, draft: Draft, parent: str, allowed: Any) -> str | None:
    if parent not in spec.parameters:
        written = draft.document.data["search_space"]["parameters"]
        return None if parent in written else f"no parameter has this name{did_you_mean(parent, spec.parameters)}"
    values = allowed if isinstance(allowed, list) else [allowed]
    if not values:
        return f"an empty list; write a value of {parent}, or a list of them"
    if _repaired(draft, parent):
        return None
    entry: ParameterSpec = spec.parameters[parent]
    parameter = entry.parameter(parent)
    if isinstance(parameter.domain, Choice):
        known = {identity(value) for value in parameter.domain.values}
        never = [value for value in values if identity(value) not in known]
        return f"{parent} is never {show(never[0])}; its values are {show(entry.values)}" if never else None
    if not parameter.domain.integer and parameter.domain.step is None:
        return f"{parent} is a continuous range, which is hardly ever {show(values[0])}; conditions need choices"
    never = [value for value in values if parameter.coordinate(value) is None]
    ends = sorted((parameter.value(parameter.domain.low), parameter.value(parameter.domain.high)))
    return f"{parent} is never {show(never[0])}; it goes from {ends[0]} to {ends[1]}" if never else None


def _repaired(draft: Draft, parameter: str) -> bool:
    """Say whether a parameter has a mistake, so that a stand-in is in its place."""
    at = draft._shown((*_SPACE, "parameters", parameter))
    return any(p.key == at or p.key.startswith(f"{at}.") for p in draft.problems)


def _check_targets(draft: Draft, space: SearchSpace) -> None:
    """Report parameters that set the same key and can be active together: one would win in silence."""
    conditions: dict[str, dict[str, set[Any]]] = {}
    for parameter in space:
        own: dict[str, set[Any]] = {}
        for parent, values in parameter.when:
            for name, allowed in ({parent: set(map(identity, values))} | conditions[parent]).items():
                own[name] = own[name] & allowed if name in own else allowed
        conditions[parameter.name] = own
    setters: dict[str, list[str]] = {}
    for name in draft.sections["search_space"].parameters:
        target = space[name].sets
        for other in setters.setdefault(target, []):
            common = conditions[name].keys() & conditions[other].keys()
            if all(conditions[name][parent] & conditions[other][parent] for parent in common):
                draft.report(
                    (*_SPACE, "parameters", name),
                    f"sets '{target}', as '{other}' does; give them conditions that exclude each other",
                )
                break
        setters[target].append(name)
