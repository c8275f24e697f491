"""The files' JSON Schemas, and a search space written back as a file."""

from __future__ import annotations

from typing import Any, Literal

from autorl.plugins import Group, names
from autorl.spec.parameters import SearchSpaceSpec, prior_entry
from autorl.spec.space import Choice, SearchSpace
from autorl.spec.study import StudySpec

# Keys that name a plugin: editors offer the installed ones.
_NAMED: tuple[tuple[str, str, Group], ...] = (
    ("AlgorithmSpec", "backend", "autorl.backends"),
    ("OptimizerSpec", "name", "autorl.optimizers"),
    ("ExecutionSpec", "executor", "autorl.executors"),
)


def json_schema(document: Literal["study", "space"]) -> dict[str, Any]:
    """Return the JSON Schema of study files or of search-space files."""
    if document == "space":
        return _titled(SearchSpaceSpec.model_json_schema(), "autorl search space")
    schema = _titled(StudySpec.model_json_schema(), "autorl study")
    # On disk a search space is a path or the space itself, and a study may lay itself over others.
    properties = schema["properties"]
    inline = properties["search_space"]
    description = inline.pop("description")
    properties["search_space"] = {"description": description, "anyOf": [{"type": "string"}, inline]}
    files = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    properties["include"] = {"description": "Study files to start from, relative to this one; keys here win.", **files}
    for name, info in StudySpec.model_fields.items():
        properties[name].setdefault("description", info.description)  # pydantic drops it where it is the section's own
    # A study that includes another may leave out any required key: the other file may have it.
    sections = {name: value["$ref"].rpartition("/")[2] for name, value in properties.items() if "$ref" in value}
    inner = {name: schema["$defs"][section].pop("required", []) for name, section in sections.items()}
    needed = {
        "required": [key for key in schema.pop("required") if key != "include"],
        "properties": {name: {"required": keys} for name, keys in inner.items() if keys},
    }
    schema |= {"if": {"required": ["include"]}, "else": needed}
    for section, key, group in _NAMED:
        schema["$defs"][section]["properties"][key]["examples"] = names(group)
    return schema


def _titled(schema: dict[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def space_to_dict(space: SearchSpace) -> dict[str, Any]:
    """Return a search space as the content of its file."""
    parameters: dict[str, Any] = {}
    for parameter in space:
        domain = parameter.domain
        if isinstance(domain, Choice):
            entry: dict[str, Any] = {"values": list(domain.values)}
        else:
            entry = {"min": domain.low, "max": domain.high}
            entry |= {"log": True} if domain.log else {}
            entry |= {"step": domain.step} if domain.step is not None else {}
        entry |= {"transform": parameter.transform} if parameter.transform else {}
        entry |= (
            {"when": {parent: _alternatives(values) for parent, values in parameter.when}} if parameter.when else {}
        )
        entry |= {"default": parameter.default} if parameter.default is not None else {}
        entry |= {"prior": prior_entry(parameter)} if parameter.prior else {}
        entry |= {"sets": parameter.sets} if parameter.sets != parameter.name else {}
        entry |= {"description": parameter.description} if parameter.description else {}
        parameters[parameter.name] = entry
    return {"parameters": parameters}


def _alternatives(values: tuple[Any, ...]) -> Any:
    # A single choice that is itself a list stays in a list: otherwise its entries would be the alternatives.
    return values[0] if len(values) == 1 and not isinstance(values[0], list) else list(values)
