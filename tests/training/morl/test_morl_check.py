"""Mistakes in a study of multi-objective agents are told before anything trains, where they are and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autorl.engine.check import check
from autorl.engine.plan import default_recipe
from autorl.errors import SpecError
from autorl.spec.load import draft_study
from autorl.training.morl import MorlBackend
from autorl.trial import Recipe

ROOT = Path(__file__).parents[3]

STUDY = """
study: a
task: {env: deep-sea-treasure-v0}
algorithm: {backend: morl, name: pql, fixed: {ref_point: [0, -25], eval_gamma: 0.99}}
search_space: {parameters: {gamma: {min: 0.8, max: 0.99}}}
objectives: [{metric: hypervolume}]
seeds: {tuning: 0:2, test: 10:12}
budget: {trials: 2, steps_per_run: 100}
"""


def mistakes(tmp_path: Path, old: str, new: str) -> list[str]:
    assert old in STUDY
    (tmp_path / "a.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(SpecError) as caught:
        check(draft_study(tmp_path / "a.yaml"))
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ("name: pql", "name: pqk", "algorithm.name", "did you mean 'pql'?"),
        ("{gamma: {min", "{gama: {min", "search_space.parameters.gama", "did you mean 'gamma'?"),
        ("ref_point: [0, -25], ", "", "algorithm.fixed", "the hypervolume needs 'ref_point'"),
        ("[0, -25]", "[0, -25, 1]", "algorithm.fixed.ref_point", "must have 2 numbers"),
        ("[0, -25]", "far", "algorithm.fixed.ref_point", "'far' must be a list of numbers"),
        ("eval_gamma: 0.99", "eval_gamma: 1.5", "algorithm.fixed.eval_gamma", "1.5 must be a number above 0"),
        ("{gamma: {min", "{eval_gamma: {min", "search_space.parameters.eval_gamma", "set it in algorithm.fixed"),
        ("metric: hypervolume", "metric: hypervolum", "objectives.0.metric", "did you mean 'hypervolume'?"),
        ("deep-sea-treasure-v0", "deep-sea-treasur-v0", "task.env", "did you mean 'deep-sea-treasure-v"),
        ("deep-sea-treasure-v0", "CartPole-v1", "task.env", "has no vector of rewards"),
        ("name: pql", "name: capql", "algorithm.name", "capql cannot train on deep-sea-treasure-v0"),
        ("gamma: {min: 0.8, max: 0.99}", "per: {values: [true, false]}", "search_space.parameters.per", "pql has no"),
        ("v0}", "v0, cost: info}", "task.cost", "backends sb3 and jax measure it, not morl"),
        ("seeds:", "evaluation: {deterministic: false}\nseeds:", "evaluation.deterministic", "leave this out"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, where: str, said: str) -> None:
    (found,) = mistakes(tmp_path, old, new)
    assert where in found
    assert said in found


def test_a_distance_to_a_front_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    mountain = "metric: igd}]\ntask: {env: mo-mountaincar-v0}"
    text = STUDY.replace("task: {env: deep-sea-treasure-v0}\n", "").replace("metric: hypervolume}]", mountain)
    (tmp_path / "a.yaml").write_text(text.replace("name: pql", "name: envelope").replace("[0, -25]", "[-201, -1, -1]"))
    with pytest.raises(SpecError) as caught:
        check(draft_study(tmp_path / "a.yaml"))
    assert "nobody knows the front of 'mo-mountaincar-v0'" in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "env", "ref_point", "said"),
    [
        ("gpi_pd", "fruit-tree-v0", "[0, 0, 0, 0, 0, 0]", "its model does not know when episodes end"),
        ("gpi_pd", "minecart-rgb-v0", "[0, 0, -200]", "its model needs observations that are vectors"),
        ("morld_eupg", "mo-mountaincar-v0", "[-200, -200, -200]", "it remembers observations as whole numbers"),
        ("morld_mosac", "deep-sea-treasure-v0", "[0, -25]", "only continuous action space is supported"),
    ],
)
def test_what_an_algorithm_cannot_train_on_is_said(
    tmp_path: Path, algorithm: str, env: str, ref_point: str, said: str
) -> None:
    text = STUDY.replace("deep-sea-treasure-v0", env).replace("[0, -25]", ref_point)
    (tmp_path / "a.yaml").write_text(text.replace("name: pql", f"name: {algorithm}"))
    with pytest.raises(SpecError) as caught:
        check(draft_study(tmp_path / "a.yaml"))
    (problem,) = caught.value.problems
    assert f"algorithm.name: {algorithm} cannot train on {env}: {said}" in str(problem)


@pytest.mark.parametrize("optimizer", ["pbt", "pb2", "bg_pbt"])
def test_forks_are_refused(tmp_path: Path, optimizer: str) -> None:
    (tmp_path / "a.yaml").write_text(f"{STUDY}optimizer: {{name: {optimizer}}}\nevaluation: {{points: 10}}\n")
    with pytest.raises(SpecError) as caught:
        check(draft_study(tmp_path / "a.yaml"))
    (problem,) = caught.value.problems
    assert f"optimizer.name: '{optimizer}' starts trials from the checkpoints of others, and backend morl" in str(
        problem
    )
    assert "use an optimizer that forks none" in str(problem)


def test_the_default_configuration_is_the_librarys() -> None:
    def default(algorithm: str, key: str) -> Any:
        return MorlBackend().default(Recipe("morl", algorithm, {}, {}, "a", {}, (), 1, 1, 1, True), key)

    assert default("pql", "gamma") == 0.8
    assert default("pql", "action_eval") == "hypervolume"  # an argument of training rather than of making
    assert default("gpi_ls", "timesteps_per_iter") == 10_000
    assert default("gpi_pd", "dynamics_train_freq") == 250  # a function there
    assert default("morld_mosac", "policy_lr") == 3e-4  # of its policies
    assert default("morld_mosac", "pop_size") == 6
    assert default("scalarized_ppo", "n_steps") == 2048
    assert default("envelope", "epsilon_decay_steps") is None


@pytest.mark.parametrize(
    ("algorithm", "env"),
    [
        *((name, "deep-sea-treasure-v0") for name in ("pql", "pcn", "mpmoqlearning", "envelope", "gpi_ls", "gpi_pd")),
        *((name, "mo-mountaincarcontinuous-v0") for name in ("gpi_pd_continuous", "morld_mosac")),
        *((name, "deep-sea-treasure-v0") for name in ("morld_mosac_discrete", "morld_eupg")),
    ],
)
def test_shipped_spaces_are_of_hyperparameters_that_there_are(tmp_path: Path, algorithm: str, env: str) -> None:
    space = f"search_space: {ROOT}/search_spaces/morl_{algorithm}.yaml"
    text = STUDY.replace("search_space: {parameters: {gamma: {min: 0.8, max: 0.99}}}", space)
    (tmp_path / "a.yaml").write_text(
        text.replace("name: pql", f"name: {algorithm}").replace("deep-sea-treasure-v0", env)
    )
    spec = check(draft_study(tmp_path / "a.yaml"))
    default = default_recipe(spec, MorlBackend()).hyperparameters
    # Four layers of 256 or 200, or one of 50, have no word here, and are left as they are where they are the default.
    assert set(default) | {"net_arch", "dynamics_net_arch"} >= {p.sets for p in spec.space if not p.when}
    assert None not in default.values()
