"""ConfigSpace files in and out (https://automl.github.io/ConfigSpace), through the ConfigSpace library.

What ConfigSpace can say and autorl cannot (forbidden clauses, conditions by order, weights, normal and beta priors) is
an error on the way in, never dropped in silence; an ordinal becomes plain choices, as no choices of autorl have an
order. What autorl can say and ConfigSpace cannot (transforms, `sets`, choices that are no scalars, no default, the
order of the parameters, priors) travels in `meta`, as do the digits of bounds and defaults that ConfigSpace rounds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from autorl.errors import AutorlError, Problem, SpecError
from autorl.spec.parameters import MAX_PARAMETERS, ParameterSpec, prior_entry
from autorl.spec.space import Choice, Numeric, Parameter, SearchSpace, identity
from autorl.spec.yaml12 import Document, Key, printable

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_META = "autorl"
_ROUNDING = 1e-12  # of what ConfigSpace rounds, to 13 decimals
_CARRIED = ("values", "min", "max", "default", "sets", "transform", "step", "description", "log", "prior")


def to_autorl(document: Document) -> Document:
    """Turn the content of a ConfigSpace file into that of a search-space file, keeping the lines.

    Raises:
        SpecError: the file is not ConfigSpace's, or says what a search space cannot.
    """
    translated, problems = translate(document)
    if problems:
        raise SpecError(problems)
    return translated


def translate(document: Document) -> tuple[Document, list[Problem]]:
    """Turn a ConfigSpace file into a search-space file as far as that goes.

    Returns:
        The search space, and what it cannot say: a condition is left out then, and choices are without their weights.

    Raises:
        SpecError: the file is not ConfigSpace's.
    """
    if isinstance(listed := document.data["hyperparameters"], list) and len(listed) > MAX_PARAMETERS:
        message = f"{len(listed):,} hyperparameters; at most {MAX_PARAMETERS:,} are allowed"
        raise SpecError([Problem(document.place(("hyperparameters",)), "hyperparameters", message)])
    from ConfigSpace import ConfigurationSpace

    try:
        space = ConfigurationSpace.from_serialized_dict(document.data)
        hyperparameters = {h["name"]: ("hyperparameters", i) for i, h in enumerate(document.data["hyperparameters"])}
    except Exception as error:  # noqa: BLE001 - the library raises whatever its decoder stumbles over
        what = printable(f"not a ConfigSpace file: {type(error).__name__}: {error}", 400)
        raise SpecError([Problem(document.place(()), "", what)]) from None
    problems: list[Problem] = []
    for index, clause in enumerate(space.forbidden_clauses):
        at: Key = ("forbiddens", index)
        message = f"the forbidden clause '{clause}' has no counterpart here; remove it, or use conditions"
        problems.append(Problem(document.place(at), "forbiddens", message))
    parameters: dict[str, Any] = {}
    for name in sorted(space, key=lambda name: _position(space[name])):
        try:
            parameters[name] = _entry(space[name])
        except AutorlError as error:
            problems.append(Problem(document.place(hyperparameters[name]), name, str(error)))
        weights = getattr(space[name], "weights", None)
        if weights is not None and len(set(weights)) > 1:
            message = f"the weights {list(weights)} of its choices have no counterpart here"
            problems.append(Problem(document.place(hyperparameters[name]), name, message))
    for index, condition in enumerate(space.conditions):
        place = document.place(("conditions", index))
        try:
            clauses = _clauses(condition)
        except AutorlError as error:
            problems.append(Problem(place, "conditions", str(error)))
            continue
        for child, parent, coordinates in clauses:
            if child not in parameters:
                continue  # it has a problem of its own
            if parent in parameters:
                _add_condition(parameters, child, parent, coordinates)
            else:
                message = f"'{child}' depends on '{parent}', which has no counterpart here"
                problems.append(Problem(place, "conditions", message))
    places: dict[Key, str] = {(): document.place(()), ("parameters",): document.place(("hyperparameters",))}
    places |= {("parameters", name): document.place(at) for name, at in hyperparameters.items()}
    return Document({"parameters": parameters}, places), problems


def _meta(meta: Any) -> Mapping[str, Any]:
    found = meta.get(_META) if isinstance(meta, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _position(hyperparameter: Any) -> float:
    # ConfigSpace sorts by name; the file's order is carried.
    at = _meta(hyperparameter.meta).get("position")
    return at if isinstance(at, int) else math.inf


def _entry(hyperparameter: Any) -> dict[str, Any]:
    import ConfigSpace as cs

    entry: dict[str, Any]
    match hyperparameter:
        case cs.Constant():
            entry = {"values": [_plain(hyperparameter.value)]}
        case cs.CategoricalHyperparameter():
            entry = {"values": [_plain(choice) for choice in hyperparameter.choices]}
        case cs.OrdinalHyperparameter():
            entry = {"values": [_plain(choice) for choice in hyperparameter.sequence]}
        case cs.UniformIntegerHyperparameter() | cs.UniformFloatHyperparameter():
            entry = {"min": _plain(hyperparameter.lower), "max": _plain(hyperparameter.upper)}
            if hyperparameter.log:
                entry["log"] = True
        case _:
            raise AutorlError(f"{type(hyperparameter).__name__} has no counterpart here; use a uniform range")
    if not isinstance(hyperparameter, cs.Constant):
        entry["default"] = _plain(hyperparameter.default_value)
    carried = {key: value for key, value in _meta(hyperparameter.meta).items() if key in _CARRIED}
    return {**entry, **{key: value for key, value in carried.items() if not _edited(key, entry, carried)}}


def _edited(key: str, entry: Mapping[str, Any], carried: Mapping[str, Any]) -> bool:
    """Say whether somebody has written another number since than the one that ConfigSpace had rounded."""
    ours, theirs = carried[key], entry.get(key)
    if key not in ("min", "max", "default") or "min" not in entry or not isinstance(ours, int | float):
        return False
    # A default outside of the range, or in other units, has no number there that it could be compared with.
    if key == "default" and (
        "transform" in carried or not entry["min"] - _ROUNDING <= ours <= entry["max"] + _ROUNDING
    ):
        return False
    return not isinstance(theirs, int | float) or abs(ours - theirs) > _ROUNDING


def _add_condition(parameters: dict[str, Any], child: str, parent: str, coordinates: list[Any]) -> None:
    """Add a condition in the values that autorl compares, not in the coordinates that ConfigSpace compares."""
    try:
        above = ParameterSpec.model_validate({**parameters[parent], "when": {}}).parameter(parent)
        values = [above.value(coordinate) for coordinate in coordinates]
    except (ValueError, StopIteration):
        return  # found again where the parameter is validated
    when = parameters[child].setdefault("when", {})
    if parent in when:
        known = {identity(value) for value in values}
        values = [value for value in when[parent] if identity(value) in known]
    when[parent] = values


def _clauses(condition: Any) -> list[tuple[str, str, list[Any]]]:
    import ConfigSpace as cs

    match condition:
        case cs.AndConjunction():
            return [clause for part in condition.components for clause in _clauses(part)]
        case cs.EqualsCondition():
            return [(condition.child.name, condition.parent.name, [_plain(condition.value)])]
        case cs.InCondition():
            return [(condition.child.name, condition.parent.name, [_plain(value) for value in condition.values])]
        case _:
            raise AutorlError(
                f"condition '{condition}': only equality, membership and their conjunction have a counterpart here"
            )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def to_configspace(space: SearchSpace, name: str, chosen: Mapping[str, Any] | None = None) -> ConfigurationSpace:
    """Turn a search space into a ConfigSpace space, in search coordinates.

    Args:
        space: what to convert.
        name: the name of the result.
        chosen: parameter → value that is its default in the place of its own.

    Raises:
        AutorlError: a range with a step, which ConfigSpace 1 has no type for.
    """
    import ConfigSpace as cs

    result = cs.ConfigurationSpace(name=name)
    for position, parameter in enumerate(space):
        try:
            result.add(_hyperparameter(parameter, position, chosen or {}))
        except ValueError as error:
            raise AutorlError(f"{parameter.name}: ConfigSpace cannot hold it: {error}") from None
    for parameter in space:
        conditions = []
        for parent, values in parameter.when:
            coordinates = [space[parent].coordinate(value) for value in values]
            child, above = result[parameter.name], result[parent]
            conditions.append(
                cs.EqualsCondition(child, above, coordinates[0])
                if len(coordinates) == 1
                else cs.InCondition(child, above, coordinates)
            )
        if conditions:
            result.add(conditions[0] if len(conditions) == 1 else cs.AndConjunction(*conditions))
    return result


def _hyperparameter(parameter: Parameter, position: int, chosen: Mapping[str, Any]) -> Any:
    import ConfigSpace as cs

    domain = parameter.domain
    value = chosen.get(parameter.name, parameter.default)
    # One that was chosen may be null; a default that is null is left to the algorithm.
    given = (parameter.name in chosen or value is not None) and parameter.expresses(value)
    default = parameter.coordinate(value) if given else None
    carried = _carried(parameter, position)
    meta: dict[Hashable, Any] = {_META: carried}
    # ConfigSpace gives every hyperparameter a default; ours may be none, outside, or in other units.
    if not given or identity(default) != identity(value):
        carried["default"] = value
    if isinstance(domain, Choice):
        if list(domain.labels) != list(domain.values):
            carried["values"] = list(domain.values)
        first = default if given else domain.labels[0]
        return cs.CategoricalHyperparameter(parameter.name, list(domain.labels), default_value=first, meta=meta)
    if domain.step is not None and not (domain.integer and domain.step == 1):
        raise AutorlError(f"{parameter.name}: ConfigSpace has no range with a step; use 'values'")
    kind = cs.UniformIntegerHyperparameter if domain.integer else cs.UniformFloatHyperparameter
    made = kind(parameter.name, domain.low, domain.high, log=domain.log, default_value=default, meta=meta)
    # It rounds numbers to so many decimals.
    for key, theirs, ours in (("min", made.lower, domain.low), ("max", made.upper, domain.high)):
        if theirs != ours:
            carried[key] = ours
    if given and made.default_value != default:
        carried["default"] = value
    return made


def _carried(parameter: Parameter, position: int) -> dict[str, Any]:
    """Return what a parameter says that ConfigSpace has no words for."""
    step = parameter.domain.step if isinstance(parameter.domain, Numeric) else None
    said = {
        "sets": parameter.sets if parameter.sets != parameter.name else None,
        "transform": parameter.transform,
        "description": parameter.description,
        "prior": prior_entry(parameter) if parameter.prior else None,
        "step": step,
    }
    return {"position": position, **{key: value for key, value in said.items() if value}}
