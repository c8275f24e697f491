"""A table of results keeps the promises of backends, and stands for the training that it recorded."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conformance.backends import BackendConformance, RecordingHost, learned, train, train_for
from landscapes import FAILED, POINTS, configs, returns, write_landscape

from autorl.engine.check import check
from autorl.engine.plan import default_configuration
from autorl.errors import AutorlError, SpecError
from autorl.spec.load import draft_study, load_space
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace
from autorl.training.landscape import LandscapeBackend, Rows, Table, landscape_space, load_table
from autorl.trial import Recipe, bind

STUDY = """\
study: table
task: {{env: {table}}}
algorithm: {{backend: landscape, name: ppo}}
search_space: space.yaml
seeds: {{tuning: 0:3, test: 3:6}}
budget: {{trials: 5, steps_per_run: 6000}}
evaluation: {{points: 6}}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_landscape(tmp_path / "table.npz")


def recipe_of(table: Path, row: int, points: int = POINTS) -> Recipe:
    return Recipe("landscape", "ppo", configs()[row], {}, str(table), {}, (), 600, points, 10, True)


class TestLandscape(BackendConformance):
    @pytest.fixture
    def backend(self) -> LandscapeBackend:
        return LandscapeBackend()

    @pytest.fixture(params=[POINTS, 3])
    def recipe(self, request: pytest.FixtureRequest, table: Path) -> Recipe:
        return recipe_of(table, 3, request.param)

    @pytest.fixture
    def failing(self, table: Path) -> Recipe:
        return Recipe.from_dict({**recipe_of(table, 3).to_dict(), "hyperparameters": {"learning_rate": 0.5}})


def test_a_run_is_what_the_table_holds(table: Path, tmp_path: Path) -> None:
    whole = learned(train(LandscapeBackend(), recipe_of(table, 5), tmp_path / "a", seed=2))
    assert whole == [(100 * (k + 1), {"return": float(returns()[5, 2, k])}) for k in range(POINTS)]
    assert learned(train(LandscapeBackend(), recipe_of(table, 5, 3), tmp_path / "b", seed=2)) == whole[1::2]
    assert learned(train(LandscapeBackend(), recipe_of(table, 5), tmp_path / "c", seed=2, until=300)) == whole[:3]


def test_a_failed_run_has_diverged(table: Path, tmp_path: Path) -> None:
    result = train(LandscapeBackend(), recipe_of(table, FAILED), tmp_path / "a", seed=0)
    assert (result.status, result.error_class) == ("failed", "diverged")
    assert (len(result.curve), result.env_steps) == (3, 400)
    assert train(LandscapeBackend(), recipe_of(table, FAILED), tmp_path / "b", seed=0, until=300).status == "completed"
    assert train(LandscapeBackend(), recipe_of(table, FAILED), tmp_path / "c", seed=1).status == "completed"


def test_what_was_reported_before_a_pause_is_not_reported_again(table: Path, tmp_path: Path) -> None:
    train(LandscapeBackend(), recipe_of(table, 5), tmp_path / "a", until=300)
    host = RecordingHost(tmp_path / "a")
    result = train_for(host, LandscapeBackend(), recipe_of(table, 5))
    assert [point.env_steps for point in host.points] == [400, 500, 600]
    assert [point.env_steps for point in result.curve] == [100, 200, 300, 400, 500, 600]


SPACE = SearchSpace(
    (
        Parameter("rate", Numeric(1e-4, 1.0, log=True), "learning_rate"),
        Parameter("target", Choice((False, True)), "target"),
        Parameter("tau", Numeric(0.0, 1.0), "tau", when=(("target", (True,)),)),
    )
)


def rows(*found: tuple[float, bool, float], space: SearchSpace = SPACE, **fixed: Any) -> Rows:
    listed = tuple(
        {"learning_rate": rate, "target": target, "tau": tau, "extra": n} for n, (rate, target, tau) in enumerate(found)
    )
    return Rows(Table(np.zeros((len(found), 1, 1)), listed), space, fixed)


def asked(rate: float, target: bool, tau: float | None = None) -> Configuration:
    return Configuration({"rate": rate, "target": target, **({} if tau is None else {"tau": tau})})


def test_nearest_is_measured_on_the_scales_of_the_space() -> None:
    # 1e-3 is 0.25 of the range from 1e-2 on its logarithm, 0.5 is 0.12 from it: on a linear scale it would be nearer.
    near = rows((1e-3, False, 0.0), (0.5, False, 0.0))
    assert near.nearest(asked(1e-2, False), ()).values["rate"] == 1e-3
    # 0.25 + 0 against 0 + 0.3, and against 0 + 0.2.
    assert rows((1e-3, True, 0.5), (1e-2, True, 0.8)).nearest(asked(1e-2, True, 0.5), ()).values["rate"] == 1e-3
    assert rows((1e-3, True, 0.5), (1e-2, True, 0.7)).nearest(asked(1e-2, True, 0.5), ()).values["rate"] == 1e-2


def test_another_choice_and_an_inactive_parameter_count_one() -> None:
    # The other choice is √2 away (target, tau), a rate three decades off 0.75.
    apart = rows((1e-1, False, 0.0), (1e-4, True, 0.5))
    assert apart.nearest(asked(1e-1, True, 0.5), ()).values == {"rate": 1e-4, "target": True, "tau": 0.5}
    # √2 against a whole range and a half of tau: √1.25.
    assert rows((1.0, False, 0.0), (1e-4, True, 1.0)).nearest(asked(1.0, True, 0.5), ()).values["target"] is True


def test_a_row_is_taken_once_until_all_are() -> None:
    found = rows((1e-1, False, 0.0), (1e-2, False, 0.0))
    first = found.nearest(asked(1e-1, False), ())
    second = found.nearest(asked(1e-1, False), [first])
    assert (first.values["rate"], second.values["rate"]) == (1e-1, 1e-2)
    assert found.nearest(asked(1e-1, False), [first, second]) == first


def test_a_row_outside_the_ranges_is_a_row_without_that_coordinate() -> None:
    found = rows((1e-6, True, 0.5)).nearest(asked(1e-1, False), ())
    assert found.values == {"rate": 1e-6, "target": True, "tau": 0.5}
    assert found.coordinates == {"target": True, "tau": 0.5}


def test_fixed_values_restrict_the_rows_and_other_columns_do_not_count() -> None:
    listed = ((1e-1, False, 0.0), (1e-1, False, 0.0), (1e-4, False, 0.0))
    assert rows(*listed, extra=2).nearest(asked(1e-1, False), ()).values["rate"] == 1e-4
    first = rows(*listed).nearest(asked(1e-1, False), ())
    assert rows(*listed).nearest(asked(1e-1, False), [first]).values["rate"] == 1e-4
    with pytest.raises(AutorlError, match="no configuration"):
        rows(*listed, extra=3)


def test_values_stay_as_the_table_has_them() -> None:
    space = SearchSpace(
        (
            Parameter("rate", Numeric(1e-4, 0.3, log=True, step=None), "learning_rate", transform="one_minus"),
            Parameter("tau", Numeric(0, 8, integer=True), "tau", transform="power_of_two"),
        )
    )
    listed = tuple({"learning_rate": 1 - 0.1 * k / 7, "tau": 64.0} for k in range(1, 7))
    found = Rows(Table(np.zeros((6, 1, 1)), listed), space, {})
    for row in listed:
        config = found.nearest(Configuration({"rate": row["learning_rate"], "tau": 64}), ())
        assert config.values["rate"] == row["learning_rate"]
        assert config.inside
        assert config.coordinates["tau"] == 6
        assert isinstance(config.values["tau"], int)


def study(folder: Path, table: str = "table.npz") -> Path:
    write_landscape(folder / "table.npz")
    (folder / "space.yaml").write_text(yaml.safe_dump(landscape_space(folder / "table.npz"), sort_keys=False))
    (folder / "study.yaml").write_text(STUDY.format(table=table))
    return folder / "study.yaml"


def test_a_search_space_is_made_from_the_table(tmp_path: Path) -> None:
    space = load_space(study(tmp_path).parent / "space.yaml")
    own = configs()

    def ends(name: str) -> tuple[float, float]:
        column = [config[name] for config in own]
        return min(column), max(column)

    assert [p.name for p in space] == ["learning_rate", "gamma", "batch_size", "buffer_size", "target", "tau"]
    assert space["learning_rate"].domain == Numeric(*ends("learning_rate"), log=True)
    assert space["gamma"].domain == Numeric(*ends("gamma"))
    assert space["batch_size"].domain == Choice((32, 64, 128))
    assert space["buffer_size"].domain == Numeric(*ends("buffer_size"), integer=True)
    assert space["target"].domain == Choice((False, True))
    assert space["tau"].when == (("target", (True,)),)
    assert space["tau"].domain == Numeric(min(c["tau"] for c in own if c["target"]), ends("tau")[1])


def test_a_condition_under_a_condition_is_found(tmp_path: Path) -> None:
    """The child's 0 follows from its parent, and from its grandparent: the parent is the condition."""
    chain = [(True, "a", 1.0), (True, "a", 2.5), (True, "b", 0.0), (False, 0, 0.0), (True, "a", 3.5), (True, "a", 4.5)]
    listed = [{"outer": outer, "inner": inner, "leaf": leaf} for outer, inner, leaf in chain]
    np.savez(tmp_path / "t.npz", returns=np.zeros((6, 1, 1)), configs=json.dumps(listed))
    assert landscape_space(tmp_path / "t.npz")["parameters"] == {
        "outer": {"values": [False, True]},
        "inner": {"values": ["a", "b"], "when": {"outer": True}},
        "leaf": {"min": 1.0, "max": 4.5, "when": {"inner": "a"}},
    }


def test_whole_numbers_that_were_rounded_are_whole(tmp_path: Path) -> None:
    sizes = [{"size": size} for size in (2879.9999999999995, 114567.00000000001, 30.0, 7.0)]
    np.savez(tmp_path / "t.npz", returns=np.zeros((4, 1, 1)), configs=json.dumps(sizes))
    assert landscape_space(tmp_path / "t.npz") == {"parameters": {"size": {"min": 7, "max": 114567}}}
    assert load_table(tmp_path / "t.npz").find({"size": 2880}) == 0


def test_every_row_can_be_proposed_and_trained(tmp_path: Path) -> None:
    spec = check(draft_study(study(tmp_path)))
    backend, recipe = LandscapeBackend(), bind(spec, spec.space, {})
    first = backend.match(recipe, spec.space, default_configuration(spec, backend), ())
    found = [first]
    for _ in range(len(configs()) - 1):
        found.append(backend.match(recipe, spec.space, first, found))
    assert all(config.inside for config in found)
    learned_rates = {config.values["learning_rate"] for config in found}
    assert learned_rates == {config["learning_rate"] for config in configs()}
    for config in found[:5]:
        result = train(backend, bind(spec, spec.space, config.values), tmp_path / "run", seed=4)
        row = next(i for i, c in enumerate(configs()) if c["learning_rate"] == config.values["learning_rate"])
        assert result.curve[-1].metrics["return"] == returns()[row, 4, -1]


def test_a_match_is_of_the_table_space_and_fixed_values_asked_about(tmp_path: Path) -> None:
    spec = check(draft_study(study(tmp_path)))
    backend, recipe = LandscapeBackend(), bind(spec, spec.space, {})
    anything = Configuration({})
    first = backend.match(recipe, spec.space, anything, ())
    fixed = Recipe.from_dict({**recipe.to_dict(), "hyperparameters": {"batch_size": 64}})
    assert backend.match(fixed, spec.space, anything, ()).values["batch_size"] == 64
    small = SearchSpace((spec.space["gamma"],))
    assert set(backend.match(recipe, small, anything, ()).values) == {"gamma"}
    assert backend.match(recipe, spec.space, anything, ()) == first
    np.savez(tmp_path / "table.npz", returns=returns()[-1:], configs=json.dumps(configs()[-1:]))
    assert backend.match(recipe, spec.space, anything, ()).values["gamma"] == configs()[-1]["gamma"]


def test_the_table_is_relative_to_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = study(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other.yaml").write_text("include: ../study.yaml\nstudy: other\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    wanted = tmp_path / "table.npz"
    for spec in (
        check(draft_study(file)),
        check(draft_study(tmp_path / "sub" / "other.yaml")),
        check(draft_study(file, ["task.env=./table.npz"])),
        check(draft_study(file, [f"task.env={wanted}"])),
        check(draft_study(Path("..") / "study.yaml")),
    ):
        assert Path(spec.task.env).is_absolute()
        assert Path(spec.task.env).samefile(wanted)
    with pytest.raises(SpecError, match=r"no environment 'table\.npz'"):
        check(draft_study(file, ["algorithm.backend=sb3"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.env=tabel.npz", r"tabel\.npz cannot be read: No such file"),
        ("task.env=space.yaml", r"space\.yaml is no table of results"),
        ("task.env_kwargs={a: 1}", "task.env_kwargs: a table has no environment"),
        ("policy.net_arch=small", "policy.net_arch: a table has no policy"),
        ("seeds.test=3:7", "seeds.test: the table has the seeds 0:6, not 6"),
        ("evaluation.points=4", "evaluation.points: the table has 6 evaluations; .* allowed: 1, 2, 3, 6"),
        ("objectives.0.metric=length", "unknown metric 'length'"),
        ("algorithm.fixed.tua=0.5", "algorithm.fixed.tua: the table has no hyperparameter 'tua'; did you mean 'tau'"),
        ("algorithm.fixed.frozen=0.6", "algorithm.fixed.frozen: no configuration of the table has 0.6"),
        ("search_space.parameters={tua: {min: 0.1, max: 0.2}}", "no hyperparameter 'tua'; did you mean 'tau'"),
        (
            "optimizer.name=pbt",
            "a table knows no run that changed its hyperparameters; use an optimizer that forks none",
        ),
    ],
)
def test_a_study_that_asks_for_what_the_table_has_not(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check(draft_study(study(tmp_path), [override]))


def test_fixed_values_that_no_row_has_together(tmp_path: Path) -> None:
    one, other = configs()[0]["gamma"], configs()[1]["learning_rate"]
    with pytest.raises(SpecError, match=r"algorithm\.fixed: the table has no configuration with"):
        check(draft_study(study(tmp_path), [f"algorithm.fixed={{gamma: {one}, learning_rate: {other}}}"]))


def damaged(path: Path, how: str) -> Path:
    good = returns(), json.dumps(configs())
    match how:
        case "pickle":
            np.savez(path, returns=good[0], configs=np.array(configs(), dtype=object))
        case "half":
            path.write_bytes(write_landscape(path).read_bytes()[:900])
        case "npy":
            with path.open("wb") as stream:
                np.save(stream, good[0])
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a.txt", "a")
        case "member":
            stream = io.BytesIO(write_landscape(path).read_bytes())
            content = bytearray(stream.getvalue())
            content[200:260] = bytes(60)
            path.write_bytes(bytes(content))
        case "lengths":
            np.savez(path, returns=good[0][:3], configs=good[1])
        case "shape":
            np.savez(path, returns=good[0][0], configs=good[1])
        case "text":
            np.savez(path, returns=np.full((40, 6, 6), "a"), configs=good[1])
        case "json":
            np.savez(path, returns=good[0], configs="{")
        case "columns":
            np.savez(path, returns=good[0], configs=json.dumps([*configs()[1:], {"a": 1}]))
    return path


@pytest.mark.parametrize(
    "how", ["pickle", "half", "npy", "zip", "member", "lengths", "shape", "text", "json", "columns"]
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, how: str) -> None:
    with pytest.raises(AutorlError, match=r"bad\.npz is no table of results: "):
        load_table(damaged(tmp_path / "bad.npz", how))


def test_a_table_that_changed_is_read_again(table: Path) -> None:
    before = load_table(table)
    assert load_table(table) is before
    changed = table.stat().st_mtime_ns
    np.savez(table, returns=np.zeros((1, 1, 1)), configs='[{"a": 1}]')
    os.utime(table, ns=(changed, changed))  # as where a file system's clock is coarse
    assert load_table(table).hyperparameters == ("a",)
