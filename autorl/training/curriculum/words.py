"""What is wrong with a study's words about its curriculum, as far as that shows without its environment."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from autorl.errors import did_you_mean
from autorl.spec.curriculum import KINDS, OF_EPISODES, OF_LANGUAGE
from autorl.spec.space import Choice, Parameter, SearchSpace
from autorl.spec.understand import understand
from autorl.spec.yaml12 import Key
from autorl.training.curriculum.space import TaskSpace

_PREFIX = "curriculum."
_OF_THE_STUDY = ("learned_from", "niches")
MAX_CELLS = 10_000


def without_curricula(backend: str, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Find what of a study asks for a curriculum, for a backend that has none."""
    why = f"backend '{backend}' has no curricula yet; leave this out, or use backend sb3 or jax"
    task, asked, space_spec = (sections.get(name) for name in ("task", "curriculum", "search_space"))
    if task is not None and task.parameters:
        yield ("task", "parameters"), why
    if asked is not None and (asked.kind != "none" or asked.options):
        yield ("curriculum",), why
    for parameter in space_spec.space() if space_spec is not None else ():
        if parameter.sets.startswith(_PREFIX):
            yield ("search_space", "parameters", parameter.name), why


def mistakes(sections: Mapping[str, Any], beyond: Collection[str] = OF_LANGUAGE) -> Iterator[tuple[Key, str]]:
    """Find unknown kinds and parameters, values that they do not allow, and curricula over nothing.

    Args:
        sections: of the study.
        beyond: kinds that the backend does not have.
    """
    asked, space_spec = sections.get("curriculum"), sections.get("search_space")
    if asked is None:
        return
    space: SearchSpace = space_spec.space() if space_spec is not None else SearchSpace()
    searched = [parameter for parameter in space if parameter.sets.startswith(_PREFIX)]
    task = sections.get("task")
    if task is not None and not task.parameters:
        why = "nothing varies: name what of the task may vary in task.parameters"
        if asked.kind != "none" or asked.options:
            yield ("curriculum",), why
        yield from ((("search_space", "parameters", parameter.name), why) for parameter in searched)
        return
    named = asked_kinds(sections)
    for at, kind in named:
        if kind not in KINDS:
            yield at, f"unknown curriculum '{kind}'{did_you_mean(kind, KINDS)}"
        elif kind in beyond:
            needed = "the episodes of an environment" if kind in OF_EPISODES else "prompts and their solutions"
            other = "sb3" if kind in OF_EPISODES else "llm"
            yield at, f"curriculum {kind} needs {needed}; use backend {other}, or another kind"
        elif kind == "snapshots" and task is not None and not _by_trajectory(task):
            yield at, "curriculum snapshots needs a parameter of the task that goes 'through: trajectory'"
    kinds = list(dict.fromkeys(kind for _, kind in named if kind in KINDS))
    for name, value in asked.options.items():
        yield from _of_values(("curriculum", name), kinds, name, [value])
    for parameter in searched:
        name = parameter.sets.removeprefix(_PREFIX)
        if name not in ("kind", *_OF_THE_STUDY):
            where: Key = ("search_space", "parameters", parameter.name)
            yield from _of_values(where, _active(parameter, space, kinds), name, _values(parameter))
    yield from _nothing_learned(asked, named, searched)
    if task is not None:
        yield from _too_fine(asked, named, searched, task)
        yield from _set_twice(space, task)
        yield from _other_niches(asked, task)


def _by_trajectory(task: Any) -> bool:
    return any(entry.through == "trajectory" for entry in task.parameters.values())


def asked_kinds(sections: Mapping[str, Any]) -> list[tuple[Key, str]]:
    """Return where a study names a kind, and the kind."""
    asked, space_spec = sections.get("curriculum"), sections.get("search_space")
    named: list[tuple[Key, str]] = [(("curriculum", "kind"), asked.kind)] if asked is not None else []
    for parameter in space_spec.space() if space_spec is not None else ():
        if parameter.sets == f"{_PREFIX}kind":
            named += [(("search_space", "parameters", parameter.name), str(value)) for value in _values(parameter)]
    return named


def _set_twice(space: SearchSpace, task: Any) -> Iterator[tuple[Key, str]]:
    """Find what a trial would set, and each episode anew."""
    for parameter in space:
        name = parameter.sets.removeprefix("task.env_kwargs.")
        if name != parameter.sets and name in task.parameters:
            yield (
                ("search_space", "parameters", parameter.name),
                f"{name} varies in training and has a target (task.parameters); a trial cannot set it as well",
            )


def _nothing_learned(
    asked: Any, named: Sequence[tuple[Key, str]], searched: Sequence[Parameter]
) -> Iterator[tuple[Key, str]]:
    """Find teachers that are to begin with what earlier runs found, where nobody says which runs, or trials differ."""
    for at, kind in named:
        if kind == "again" and all(asked.options.get(key) is None for key in _OF_THE_STUDY):
            yield at, "curriculum again needs an earlier study of the same database; name it in curriculum.learned_from"
    for parameter in searched:
        if parameter.sets.removeprefix(_PREFIX) in _OF_THE_STUDY:
            yield ("search_space", "parameters", parameter.name), f"{parameter.sets} is the same for all trials"


def _other_niches(asked: Any, task: Any) -> Iterator[tuple[Key, str]]:
    """Find niches of another task space."""
    niches = asked.options.get("niches")
    if isinstance(niches, Mapping) and niches.keys() != task.parameters.keys():
        of, varies = (", ".join(map(str, names)) or "nothing" for names in (niches, task.parameters))
        yield ("curriculum", "niches"), f"these are of {of}; what varies is {varies}"


def _active(parameter: Parameter, space: SearchSpace, kinds: Sequence[str]) -> list[str]:
    """Return the kinds with which a parameter is active."""
    chosen = [set(values) for parent, values in parameter.when if space[parent].sets == f"{_PREFIX}kind"]
    return [kind for kind in kinds if all(kind in values for values in chosen)]


def _values(parameter: Parameter) -> Sequence[Any]:
    """Return the values of a choice, or those at the ends of a range."""
    domain = parameter.domain
    return domain.values if isinstance(domain, Choice) else [parameter.value(domain.low), parameter.value(domain.high)]


def _of_values(at: Key, kinds: Sequence[str], name: str, values: Sequence[Any]) -> Iterator[tuple[Key, str]]:
    having = [kind for kind in kinds if name in KINDS[kind].model_fields]
    if not having:
        known = {key for kind in kinds for key in KINDS[kind].model_fields}
        owners = [kind for kind in KINDS if name in KINDS[kind].model_fields]
        hint = (
            f"; {' and '.join(owners)} {'has' if len(owners) == 1 else 'have'} it"
            if owners
            else did_you_mean(name, known)
        )
        yield at, f"curriculum {' or '.join(kinds) or 'of this study'} has no parameter '{name}'{hint}"
        return
    for kind in having:
        for value in values:
            for _, message in understand(KINDS[kind], {name: value}, set())[1]:
                yield at, message
                return


def _too_fine(
    asked: Any, named: Sequence[tuple[Key, str]], searched: Sequence[Parameter], task: Any
) -> Iterator[tuple[Key, str]]:
    """Find grids with more cells than episodes could ever tell apart."""
    varying = task.space()
    space = TaskSpace(varying["parameters"], varying["target"])
    given: list[tuple[Key, Any]] = [(("curriculum", "bins"), asked.options.get("bins"))]
    if "bins" not in asked.options:
        fields = [(at, KINDS[kind].model_fields.get("bins")) for at, kind in named if kind in KINDS]
        given += [(at, field.default) for at, field in fields if field is not None]
    for parameter in searched:
        if parameter.sets == f"{_PREFIX}bins":
            given.append((("search_space", "parameters", parameter.name), max(_values(parameter), default=None)))
    for at, bins in given:
        if isinstance(bins, int) and math.prod(space.cells(bins)) > MAX_CELLS:
            fit = [fewer for fewer in range(2, bins) if math.prod(space.cells(fewer)) <= MAX_CELLS]
            advice = f"set curriculum.bins to at most {fit[-1]}" if fit else "let fewer parameters vary"
            yield at, f"{bins} bins of {space.dimensions} parameters are more than {MAX_CELLS:,} cells; {advice}"
