"""Search spaces: coordinates and values, conditions, Optuna's distributions, ConfigSpace and back."""

import json
from pathlib import Path

import ConfigSpace as cs
import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autorl.errors import AutorlError, SpecError
from autorl.spec.configspace import to_configspace
from autorl.spec.distributions import distribution, readable
from autorl.spec.load import load_space
from autorl.spec.parameters import SearchSpaceSpec
from autorl.spec.schema import space_to_dict
from autorl.spec.space import Choice, Configuration, Prior, SearchSpace, same
from autorl.spec.yaml12 import dump, parse, scalar

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, object]:
    kind = draw(st.sampled_from(["float", "log", "int", "log int", "one_minus", "log one_minus", "power", "step"]))
    if kind == "power":
        low, high = sorted(draw(st.lists(st.integers(0, 62), min_size=2, max_size=2, unique=True)))
        return {"min": low, "max": high, "transform": "power_of_two"}
    if kind == "step":
        low, steps = draw(st.integers(-5, 5)), draw(st.integers(1, 20))
        return {"min": low / 10, "max": (low + steps) / 10, "step": 0.1}
    number = st.integers(1, 10**9) if "int" in kind else st.floats(1e-9, 1e3 if "one" not in kind else 1.0)
    low, high = sorted(draw(st.lists(number, min_size=2, max_size=2, unique=True)))
    return {
        "min": low,
        "max": high,
        "log": "log" in kind,
        **({"transform": "one_minus"} if "one_minus" in kind else {}),
    }


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """A space with a switch, ranges, choices that are no scalars, conditions, and defaults in and out of the ranges."""
    parameters: dict[str, dict[str, object]] = {"kind": {"values": ["a", False, None, [64, 64]]}}
    for index in range(draw(st.integers(0, 5))):
        entry = dict(draw(ranges()))
        if draw(st.booleans()):
            entry["when"] = {"kind": draw(st.sampled_from(["a", [False, "a"], [[64, 64]], [None, "a"]]))}
        entry["default"] = draw(st.sampled_from([None, 0.99, 7, 64, "auto", 10**6]))
        parameters[f"p{index}"] = entry
    return SearchSpaceSpec.model_validate({"parameters": parameters}).space()


def drawn(space: SearchSpace, data: st.DataObject) -> Configuration:
    def choose(parameter):
        domain = parameter.domain
        if isinstance(domain, Choice):
            return data.draw(st.sampled_from(domain.labels))
        if domain.step:
            steps = data.draw(st.integers(0, round((domain.high - domain.low) / domain.step)))
            return min(domain.high, domain.low + domain.step * steps)
        return data.draw(st.one_of(st.sampled_from([domain.low, domain.high]), inside(domain)))

    def inside(domain):
        return st.integers(domain.low, domain.high) if domain.integer else st.floats(domain.low, domain.high)

    return space.build(choose)


@given(spaces(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_built_configuration_respects_its_space(space, data):
    config = drawn(space, data)
    assert config.inside
    assert set(config.values) == {p.name for p in space if p.active(config.values)}
    for name, coordinate in config.coordinates.items():
        parameter = space[name]
        assert parameter.domain.contains(coordinate)
        again = parameter.coordinate(parameter.value(coordinate))
        assert same(parameter.value(again), config.values[name])
    # A proposal read back from the ledger is the proposal that was made.
    stored = json.loads(json.dumps([config.values, config.coordinates]))
    assert Configuration(*stored) == config


@given(spaces(), st.data())
@settings(max_examples=150, deadline=None)
def test_optuna_takes_every_configuration_and_the_default(space, data):
    default = space.default(lambda key, values: 0.5)
    study = optuna.create_study()
    for config in (drawn(space, data), default, drawn(space, data)):
        params, distributions = readable(space, config, default)
        study.add_trial(optuna.create_trial(value=0.0, params=params, distributions=distributions))
        assert study.trials[-1].params == params
        left_out = set(config.values) - set(params)
        assert all(isinstance(config.values[name], str) for name in left_out)
        for name, coordinate in config.coordinates.items():
            dist = distribution(space[name])
            assert dist._contains(dist.to_internal_repr(coordinate))


@given(spaces(), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_what_optuna_draws_is_inside_the_space(space, seed):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    assert space.build(lambda p: trial._suggest(p.name, distribution(p))).inside


def test_a_coordinate_outside_is_refused():
    space = SearchSpaceSpec.model_validate({"parameters": {"a": {"min": 1, "max": 3}}}).space()
    for coordinate in (0, 4, 1.5, float("nan"), float("inf"), True, "1", None):
        with pytest.raises(AutorlError, match="outside"):
            space.build(lambda _, coordinate=coordinate: coordinate)


@pytest.mark.parametrize("value", [0.99, 0.9, 0.9999, 0.7])
def test_the_ends_of_a_range_that_is_searched_as_one_minus_are_inside(value):
    entry = {"min": 1 - value, "max": 0.9, "transform": "one_minus"}
    for ends in (entry, {**entry, "min": 1e-9, "max": round(1 - value, 4)}):
        parameter = SearchSpaceSpec.model_validate({"parameters": {"gamma": ends}}).space()["gamma"]
        assert same(parameter.value(parameter.coordinate(value)), value)


@pytest.mark.parametrize(
    ("entry", "coordinate"),
    [({"min": 1e-5, "max": 1e-2, "log": True}, 3e-4), ({"min": 1, "max": 9}, 2.5), ({"min": 0.0, "max": 1.0}, 1),
     ({"min": 0.0, "max": 1.0, "step": 0.5}, 0.7)],
)  # fmt: skip
def test_the_mean_of_a_prior_is_a_value_of_the_range_and_need_not_be_on_a_step(entry, coordinate):
    spec = SearchSpaceSpec.model_validate({"parameters": {"a": {**entry, "prior": {"mean": coordinate, "std": 0.5}}}})
    assert spec.space()["a"].prior == Prior(coordinate, 0.5)


def test_the_mean_of_a_prior_is_given_after_the_transform():
    gamma = {"min": 1e-4, "max": 0.1, "log": True, "transform": "one_minus", "prior": {"mean": 0.99, "std": 0.5}}
    end = {**gamma, "prior": {"mean": 0.9, "std": 0.5}}
    batch = {"min": 3, "max": 8, "transform": "power_of_two", "prior": {"mean": 64, "std": 1}}
    spec = SearchSpaceSpec.model_validate({"parameters": {"gamma": gamma, "end": end, "batch": batch}})
    space = spec.space()
    assert space["gamma"].prior == Prior(pytest.approx(0.01), 0.5)
    assert space["end"].prior == Prior(0.1, 0.5)  # 1 - 0.9 is a little less than 0.1, but the same end is meant
    assert space["batch"].prior == Prior(6, 1)


def test_values_compare_as_yaml_means_them():
    assert same(1, 1.0)
    assert same([1, {"a": 2}], [1.0, {"a": 2.0}])
    assert not same(True, 1)
    assert not same([True], [1])
    assert not same(None, False)


# YAML 1.2.


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_python_writes_numbers_that_are_read_back(number):
    assert scalar(repr(number)) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1E5", 1e5), (".5", 0.5), ("5.", 5.0), ("+1", 1), ("-0", 0), ("007", 7), ("0o17", 15),
        ("0x1F", 31), ("8_192", 8192), ("1_000.5", 1000.5), ("", None), ("~", None), ("null", None), ("true", True),
        ("FALSE", False), ("on", "on"), ("yes", "yes"), ("no", "no"), ("100:110", "100:110"), ("1__0", "1__0"),
        ("_1", "_1"), ("1_", "1_"), ("e5", "e5"), (".", "."), ("0b1", "0b1"), ("2020-01-01", "2020-01-01"),
        (str(2**63 - 1), 2**63 - 1),
    ],
)  # fmt: skip
def test_plain_scalars_are_those_of_yaml_1_2(text, value):
    found = scalar(text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "-1e999", str(2**63), "0x" + "f" * 17, "9" * 5000])
def test_numbers_that_no_study_can_use_are_refused(text):
    with pytest.raises(ValueError, match=r"finite|64 bits"):
        scalar(text)


@given(values)
def test_what_is_written_is_read_back(data):
    try:
        text = dump({"x": data})
    except yaml.YAMLError:
        return
    try:
        document = parse(text.encode(), "f")
    except (SpecError, UnicodeEncodeError):
        return  # control characters and the like
    assert same(document.data, {"x": data})


@pytest.mark.parametrize(
    "text", ["1e-5", "0o17", "8_192", "null", "true", "yes", ".inf", "9" * 40, "", "- a", "a: b", "#"]
)
def test_text_that_looks_like_something_else_stays_text(text):
    assert parse(dump({text: [text]}).encode(), "f").data == {text: [text]}


# ConfigSpace.


def through_configspace(space: SearchSpace, folder: Path) -> list[SearchSpace]:
    data = to_configspace(space, "x").to_serialized_dict()
    (folder / "s.json").write_text(json.dumps(data))
    (folder / "s.yaml").write_text(dump(data))
    return [load_space(folder / "s.json"), load_space(folder / "s.yaml")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_survives_configspace_and_its_own_format(path, tmp_path):
    space = load_space(path)
    assert len(space) > 3
    assert through_configspace(space, tmp_path) == [space, space]
    (tmp_path / "again.yaml").write_text(dump(space_to_dict(space)))
    assert load_space(tmp_path / "again.yaml") == space


def test_everything_that_a_space_can_say_survives(tmp_path):
    space = space_of(
        tmp_path,
        """
        arch: {values: [[64, 64], {pi: [64]}, '1e-5', 1e-5, null, true], default: [64, 64]}
        steps: {min: 2, max: 5, transform: power_of_two, default: 8, description: of a rollout}
        a: {min: 0.1, max: 1.0, when: {arch: [[64, 64]], steps: [8, 32]}, sets: b, default: auto}
        gamma: {min: 1e-4, max: 0.03, log: true, transform: one_minus, default: 0.99, when: {arch: [true, '1e-5']}}
        n: {min: 1, max: 9, step: 1, prior: {mean: 2.5, std: 2}}
        lam: {min: 0.1, max: 0.9, transform: one_minus, prior: {mean: 0.3, std: 0.1}}
        batch: {min: 3, max: 10, transform: power_of_two, prior: {mean: 96, std: 1}}
        k: {min: 1, max: 1000, log: true, default: 7}
        rate: {min: 1.23456789e-8, max: 0.12345678901234567, log: true}
        """,
    )
    assert through_configspace(space, tmp_path) == [space, space]
    (tmp_path / "again.yaml").write_text(dump(space_to_dict(space)))
    assert load_space(tmp_path / "again.yaml") == space


def test_a_number_that_was_edited_in_configspaces_file_is_that(tmp_path):
    text = "rate: {min: 1.23456789e-8, max: 0.12345678901234567, default: 2.3456789012345678e-4, log: true}"
    space = space_of(tmp_path, text)
    made = to_configspace(space, "x").to_serialized_dict()
    (own,) = made["hyperparameters"]
    assert own["default_value"] != space["rate"].default
    own |= {"lower": 1e-6, "default_value": 1e-3}
    (tmp_path / "edited.json").write_text(json.dumps(made))
    edited = load_space(tmp_path / "edited.json")["rate"]
    assert (edited.domain.low, edited.domain.high, edited.default) == (1e-6, 0.12345678901234567, 1e-3)


def space_of(folder: Path, parameters: str) -> SearchSpace:
    lines = [f"  {line.strip()}" for line in parameters.strip().splitlines()]
    (folder / "own.yaml").write_text("\n".join(["parameters:", *lines]))
    return load_space(folder / "own.yaml")


def test_a_step_is_a_clear_error(tmp_path):
    space = space_of(tmp_path, "a: {min: 0.0, max: 1.0, step: 0.25}")
    with pytest.raises(AutorlError, match="a: ConfigSpace has no range with a step"):
        to_configspace(space, "x")


def test_a_space_made_by_configspace_is_read(tmp_path):
    made = cs.ConfigurationSpace(name="made")
    made.add(
        cs.CategoricalHyperparameter("kind", ["x", "y", "z"], default_value="y"),
        cs.Constant("c", 3),
        cs.OrdinalHyperparameter("size", ["s", "m", "l"], default_value="m"),
        cs.Float("lr", (1e-5, 1e-1), log=True, default=1e-3),
        cs.Integer("n", (1, 10), default=4),
    )
    made.add(
        cs.AndConjunction(
            cs.InCondition(made["lr"], made["kind"], ["x", "y"]), cs.EqualsCondition(made["lr"], made["size"], "m")
        )
    )
    made.add(cs.EqualsCondition(made["n"], made["kind"], "z"))
    made.to_json(tmp_path / "made.json")
    made.to_yaml(tmp_path / "made.yaml")
    space = load_space(tmp_path / "made.json")
    assert load_space(tmp_path / "made.yaml") == space
    assert space["lr"].when == (("kind", ("x", "y")), ("size", ("m",)))
    assert space["n"].domain.integer
    assert space["lr"].default == 1e-3
    assert space["c"].domain.values == (3,)
    for sample in made.sample_configuration(50):
        config = space.build(lambda p, sample=sample: sample[p.name])
        assert config.values == dict(sample)


def test_what_configspace_can_say_and_autorl_cannot_is_an_error_with_its_line(tmp_path):
    made = cs.ConfigurationSpace()
    made.add(
        cs.CategoricalHyperparameter("kind", ["x", "y"], weights=[1, 3]),
        cs.Float("normal", (0.0, 1.0), distribution=cs.Normal(0.5, 0.1)),
        cs.Integer("n", (1, 10)),
        cs.Integer("m", (1, 10)),
        cs.Float("b", (0.0, 1.0), distribution=cs.Beta(2, 2)),
    )
    made.add(cs.GreaterThanCondition(made["m"], made["n"], 5))
    made.add(cs.ForbiddenEqualsClause(made["n"], 3))
    made.to_json(tmp_path / "made.json")
    with pytest.raises(SpecError) as caught:
        load_space(tmp_path / "made.json")
    lines = (tmp_path / "made.json").read_text().splitlines()
    found = {p.key: (p.message, int(p.place.rpartition(":")[2])) for p in caught.value.problems}
    assert set(found) == {"kind", "normal", "b", "conditions", "forbiddens"}
    assert "weights" in found["kind"][0]
    assert "NormalFloat" in found["normal"][0]
    assert "BetaFloat" in found["b"][0]
    assert "'m | n > 5'" in found["conditions"][0]
    assert "no counterpart" in found["forbiddens"][0]
    for key in ("kind", "normal", "b"):
        assert any(f'"name": "{key}"' in line for line in lines[found[key][1] - 1 : found[key][1] + 3])


@pytest.mark.parametrize(
    "text",
    ['{"hyperparameters": 3}', '{"hyperparameters": [{"type": "x"}]}', '{"hyperparameters": [3], "conditions": []}',
     '{"hyperparameters": {"a": 1}}', "hyperparameters:\n"],
)  # fmt: skip
def test_a_broken_configspace_file_is_a_users_mistake(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SpecError, match=r"x\.json:1: .*not a ConfigSpace file"):
        load_space(tmp_path / "x.json")
