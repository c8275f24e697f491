"""The files' JSON Schemas, and a search space written back as a file."""

from __future__ import annotations

from typing import Any, Literal

from autorl.spec.space import Choice, SearchSpace
from autorl.spec.study import SearchSpaceSpec, StudySpec


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
    if "required" in schema:
        schema["required"] = [key for key in schema["required"] if key == "study"]
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
        entry |= {"when": {parent: values[0] if len(values) == 1 else list(values) for parent, values in parameter.when}} if parameter.when else {}
        entry |= {"default": parameter.default} if parameter.default is not None else {}
        entry |= {"sets": parameter.sets} if parameter.sets != parameter.name else {}
        entry |= {"description": parameter.description} if parameter.description else {}
        parameters[parameter.name] = entry
    return {"parameters": parameters}
