"""ConfigSpace files in and out (https://automl.github.io/ConfigSpace), through the ConfigSpace library.

What ConfigSpace can say and autorl cannot (forbidden clauses, conditions by order, normal and beta priors) is an error
on the way in, never dropped in silence. What autorl can say and ConfigSpace cannot (transforms, `sets`, choices that
are no scalars) travels in each hyperparameter's `meta`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autorl.errors import AutorlError, Problem, SpecError
from autorl.spec.space import Choice, Numeric, Parameter, SearchSpace

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_META = "autorl"


def to_autorl(data: dict[str, Any], place: str) -> dict[str, Any]:
    """Turn the content of a ConfigSpace file into that of a search-space file.

    Args:
        data: the parsed JSON or YAML.
        place: where it was read, for messages.

    Raises:
        SpecError: the file is not ConfigSpace's, or says what a search space cannot.
    """
    from ConfigSpace import ConfigurationSpace

    try:
        space = ConfigurationSpace.from_serialized_dict(data)
    except Exception as error:  # noqa: BLE001 - the library raises whatever its decoder stumbles over
        raise SpecError([Problem(place, "", f"not a ConfigSpace file: {type(error).__name__}: {error}")]) from None
    problems = [Problem(place, "", f"forbidden clause '{clause}' has no counterpart here") for clause in space.forbidden_clauses]
    parameters: dict[str, Any] = {}
    for hyperparameter in space.values():
        try:
            parameters[hyperparameter.name] = _entry(hyperparameter)
        except AutorlError as error:
            problems.append(Problem(place, hyperparameter.name, str(error)))
    for condition in space.conditions:
        try:
            for child, parent, values in _clauses(condition):
                parameters.get(child, {}).setdefault("when", {})[parent] = values
        except AutorlError as error:
            problems.append(Problem(place, "", str(error)))
    if problems:
        raise SpecError(problems)
    return {"parameters": parameters}


def _entry(hyperparameter: Any) -> dict[str, Any]:
    import ConfigSpace as cs

    meta = (hyperparameter.meta or {}).get(_META, {})
    match hyperparameter:
        case cs.Constant():
            entry: dict[str, Any] = {"values": [hyperparameter.value]}
        case cs.CategoricalHyperparameter():
            entry = {"values": meta.get("values", [_plain(choice) for choice in hyperparameter.choices])}
        case cs.OrdinalHyperparameter():
            entry = {"values": [_plain(choice) for choice in hyperparameter.sequence]}
        case cs.UniformIntegerHyperparameter() | cs.UniformFloatHyperparameter():
            entry = {"min": _plain(hyperparameter.lower), "max": _plain(hyperparameter.upper)}
            if hyperparameter.log:
                entry["log"] = True
        case _:
            raise AutorlError(f"{type(hyperparameter).__name__} has no counterpart here; use a uniform range")
    if "values" not in meta and not isinstance(hyperparameter, cs.Constant):
        entry["default"] = _plain(hyperparameter.default_value)
    return {**entry, **{key: value for key, value in meta.items() if key != "values"}}


def _clauses(condition: Any) -> list[tuple[str, str, Any]]:
    import ConfigSpace as cs

    match condition:
        case cs.AndConjunction():
            return [clause for part in condition.components for clause in _clauses(part)]
        case cs.EqualsCondition():
            return [(condition.child.name, condition.parent.name, _plain(condition.value))]
        case cs.InCondition():
            return [(condition.child.name, condition.parent.name, [_plain(value) for value in condition.values])]
        case _:
            raise AutorlError(f"condition '{condition}': only equality, membership and their conjunction have a counterpart here")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def to_configspace(space: SearchSpace, name: str) -> ConfigurationSpace:
    """Turn a search space into a ConfigSpace space, in search coordinates.

    Args:
        space: what to convert.
        name: the name of the result.

    Raises:
        AutorlError: a range with a step, which ConfigSpace 1 has no type for.
    """
    import ConfigSpace as cs

    result = cs.ConfigurationSpace(name=name)
    for parameter in space:
        result.add(_hyperparameter(parameter))
    for parameter in space:
        conditions = []
        for parent, values in parameter.when:
            domain = space[parent].domain
            coordinates = [domain.label(v) if isinstance(domain, Choice) else space[parent].coordinate(v) for v in values]
            child, above = result[parameter.name], result[parent]
            conditions.append(
                cs.EqualsCondition(child, above, coordinates[0]) if len(coordinates) == 1 else cs.InCondition(child, above, coordinates)
            )
        if conditions:
            result.add(conditions[0] if len(conditions) == 1 else cs.AndConjunction(*conditions))
    return result


def _hyperparameter(parameter: Parameter) -> Any:
    import ConfigSpace as cs

    meta: dict[str, Any] = {}
    if parameter.sets != parameter.name:
        meta["sets"] = parameter.sets
    if parameter.transform:
        meta["transform"] = parameter.transform
    if parameter.default is not None and (parameter.transform or parameter.coordinate(parameter.default) is None):
        meta["default"] = parameter.default
    domain = parameter.domain
    default = parameter.coordinate(parameter.default) if parameter.default is not None else None
    if isinstance(domain, Choice):
        if list(domain.labels) != list(domain.values):
            meta["values"] = list(domain.values)
        return cs.CategoricalHyperparameter(
            parameter.name, list(domain.labels), default_value=default if default is not None else domain.labels[0], meta=_wrap(meta)
        )
    assert isinstance(domain, Numeric)
    if domain.step not in (None, 1):
        raise AutorlError(f"{parameter.name}: ConfigSpace has no range with a step; use 'values'")
    kind = cs.UniformIntegerHyperparameter if domain.integer else cs.UniformFloatHyperparameter
    return kind(parameter.name, domain.low, domain.high, log=domain.log, default_value=default, meta=_wrap(meta))


def _wrap(meta: dict[str, Any]) -> dict[str, Any] | None:
    return {_META: meta} if meta else None
