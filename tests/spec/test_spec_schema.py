"""The JSON Schemas that editors complete from."""

from pathlib import Path

import jsonschema
import pytest

from autorl.spec.schema import json_schema
from autorl.spec.yaml12 import parse, read

ROOT = Path(__file__).parents[2]
STUDY = """
study: s
task: {env: CartPole-v1}
algorithm: {name: ppo}
search_space: {parameters: {gamma: {min: 0.9, max: 0.99}}}
seeds: {tuning: 0:3, test: [100, 101]}
budget: {trials: 20, steps_per_run: 1e6}
"""


def validator(document):
    schema = json_schema(document)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_study_is_valid(path):
    validator("study").validate(read(path).data)


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_space_is_valid(path):
    validator("space").validate(read(path).data)


@pytest.mark.parametrize(
    ("old", "new"),
    [("study: s\n", ""), ("study: s", "study: a b"), ("env:", "enw:"), ("name: ppo", "nam: ppo"), ("min: 0.9, ", ""),
     ("min: 0.9", "min: a"), ("min: 0.9", "values: [1], min: 0.9"), ("max: 0.99", "max: 0.99, prior: {mean: 0.95}"),
     ("max: 0.99", "max: 0.99, prior: {mean: 0.95, std: 0}"), ("gamma", "a b"), ("0:3", "0-3"), ("0:3", "-1"),
     ("20", "0"), ("20", "'20'"), ("1e6", "1.5"), ("trials", "trails"),
     ("budget", "objectives: [{direction: up}]\nbudget"),
     ("budget", "execution: {workers: many}\nbudget"), ("budget", "extra: 1\nbudget")],
)  # fmt: skip
def test_a_broken_study_is_not(old, new):
    check = validator("study")
    check.validate(parse(STUDY.encode(), "f").data)
    assert STUDY.count(old) >= 1
    assert not check.is_valid(parse(STUDY.replace(old, new, 1).encode(), "f").data)


def test_a_prior_is_valid():
    with_prior = STUDY.replace("max: 0.99", "max: 0.99, prior: {mean: 0.95, std: 0.1}")
    assert with_prior != STUDY
    validator("study").validate(parse(with_prior.encode(), "f").data)


def test_a_study_that_includes_another_may_leave_out_what_that_has():
    check = validator("study")
    assert check.is_valid({"include": "base.yaml", "study": "s", "budget": {"trials": 3}})
    assert not check.is_valid({"study": "s", "budget": {"trials": 3}})
    assert not check.is_valid({"include": 3, "study": "s"})


@pytest.mark.parametrize("document", ["study", "space"])
def test_every_key_has_a_description(document):
    schema = json_schema(document)
    sections = [schema, *schema["$defs"].values()]
    bare = [
        key
        for section in sections
        for key, value in section.get("properties", {}).items()
        if "description" not in value
    ]
    assert sum(len(section.get("properties", {})) for section in sections) > 8
    assert bare == []


def test_installed_plugins_are_offered():
    definitions = json_schema("study")["$defs"]
    assert "tpe" in definitions["OptimizerSpec"]["properties"]["name"]["examples"]
    assert "processes" in definitions["ExecutionSpec"]["properties"]["executor"]["examples"]
    assert "sb3" in definitions["AlgorithmSpec"]["properties"]["backend"]["examples"]
