"""Grid search against combinations that are listed one by one."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
from conformance.optimizers import SPACE, Drive, OptimizerConformance, drive, question

from autorl.optimizers.grid import Axis, GridOf
from autorl.optimizers.optuna_samplers import GRID
from autorl.optimizers.protocol import Method
from autorl.spec.space import Choice, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal

# Two levels of conditions, a parent with several children, and a child of two parents.
TREE = SearchSpace(
    (
        Parameter("kind", Choice(("a", "b", "c")), "kind"),
        Parameter("free", Numeric(1, 3, integer=True), "free"),
        Parameter("depth", Numeric(1, 2, integer=True), "depth", when=(("kind", ("a", "b")),)),
        Parameter("width", Numeric(0.0, 0.3, step=0.1), "width", when=(("depth", (2,)), ("kind", ("a",)))),
        Parameter("rate", Numeric(1e-3, 1e-1, log=True), "rate", when=(("kind", ("b",)),)),
    )
)


class TestGrid(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return GRID


def listed(space: SearchSpace, points: int) -> set[str]:
    """Return the configurations of all combinations, those that differ only in what is inactive once."""
    axes = [list(Axis(parameter, points)) for parameter in space]
    names = [parameter.name for parameter in space]
    combinations = (dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*axes))
    configs = (space.build(lambda p, chosen=chosen: chosen[p.name]) for chosen in combinations)
    return {str(sorted(config.values.items())) for config in configs}


@pytest.mark.parametrize("space", [SPACE, TREE], ids=["conformance", "tree"])
def test_every_combination_has_one_number(space: SearchSpace) -> None:
    grid = GridOf(space, 3)
    found = [str(sorted(grid[index].values.items())) for index in range(grid.size)]
    assert len(found) == len(set(found))
    assert set(found) == listed(space, 3)


def test_the_grid_is_trained_once_and_then_it_ends() -> None:
    whole = Drive(GRID.make(replace(question(GRID, points=2), space=TREE)), pending=3)
    size = GridOf(TREE, 2).size
    found = []
    for number in range(size):
        proposal = whole.optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        assert proposal.config == TREE.build(lambda p, chosen=proposal.config: chosen.coordinates[p.name])
        whole.optimizer.take(number, proposal)
        found.append(str(sorted(proposal.config.values.items())))
    assert set(found) == listed(TREE, 2)
    assert whole.optimizer.ask(size) is None


def test_what_was_trained_already_is_passed_over() -> None:
    space = SearchSpace((Parameter("gamma", Numeric(0.0, 0.1), "gamma", transform="one_minus"),))
    optimizer = GRID.make(replace(question(GRID, points=3), space=space))
    default = space.default(lambda key, values: 0.95)
    optimizer.take(0, Proposal(0, default, (0,), 1000))
    rest = []
    for number in (1, 2):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        rest.append(proposal.config.values["gamma"])
    assert sorted(rest) == [0.9, 1.0]
    assert optimizer.ask(3) is None


def test_continuous_ranges_get_points_as_people_write_them() -> None:
    log = Parameter("a", Numeric(1e-5, 1e-1, log=True), "a")
    assert list(Axis(log, 5)) == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert list(Axis(Parameter("a", Numeric(0.0, 0.3, step=0.1), "a"), 5)) == [0.0, 0.1, 0.2, 0.3]
    assert list(Axis(Parameter("a", Numeric(2, 8, step=2, integer=True), "a"), 5)) == [2, 4, 6, 8]
    assert list(Axis(Parameter("a", Numeric(0.0, 1.0), "a"), 3)) == [0.0, 0.5, 1.0]
    (first, *_) = drive(GRID, points=9).proposals
    assert first.config.coordinates["rate"] in list(Axis(SPACE["rate"], 9))


def test_a_grid_too_large_to_list_is_no_trouble() -> None:
    names = [f"x{i}" for i in range(300)]
    space = SearchSpace(tuple(Parameter(name, Numeric(0, 2**53, integer=True), name) for name in names))
    start = time.process_time()
    optimizer = GRID.make(replace(question(GRID), space=space))
    proposal = optimizer.ask(0)
    assert time.process_time() - start < 1
    assert isinstance(proposal, Proposal)
    assert len(proposal.config.values) == 300


def test_the_order_is_random_so_that_a_part_shows_every_value() -> None:
    found = drive(GRID, count=40).proposals
    assert {proposal.config.values["batch"] for proposal in found} == {8, 16, 32, 64, 128, 256}
    assert len({proposal.config.values["rate"] for proposal in found}) == 5
