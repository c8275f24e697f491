"""What people have written for other tools becomes studies and search spaces that autorl takes as they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ConfigSpace as cs
import optuna
import pytest
import yaml
from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.check import check
from autorl.engine.plan import default_recipe, enqueued
from autorl.errors import AutorlError, SpecError
from autorl.spec.foreign import sampled, space, wandb, zoo
from autorl.spec.foreign.translation import Translation
from autorl.spec.load import draft_study, load_space, load_study
from autorl.spec.space import Choice, Numeric, Prior, SearchSpace
from autorl.spec.study import StudySpec
from autorl.training.sb3 import Sb3Backend

SWEEP = """\
program: train.py
method: bayes
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  rate_by_exponents: {distribution: log_uniform, min: -9.0, max: -4.5}
  batch_size: {values: [32, 64, 128]}
  n_epochs: {min: 1, max: 20}
  clip_range: {min: 0.1, max: 1}
  dropout: {distribution: q_uniform, min: 0.0, max: 0.5, q: 0.2}
  width: {distribution: q_log_uniform_values, q: 1, min: 8, max: 512}
  momentum: {distribution: normal, mu: 0.9, sigma: 0.01}
  scale: {distribution: log_normal, mu: 0.0, sigma: 2.302585092994046}
  inverse: {distribution: inv_log_uniform_values, min: 0.001, max: 0.1}
  skewed: {distribution: beta, a: 1, b: 2}
  threads: {value: 3}
  activation: {values: [relu, tanh], probabilities: [0.3, 0.7]}
  broken: {min: 3}
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
  policy:
    parameters:
      net_arch: {values: [small, [128, 128]]}
  rows: {distribution: q_log_uniform_values, q: 8, min: 30, max: 256}
  by_exponents: {distribution: q_log_uniform, min: 2.0, max: 5.0}
  every: {distribution: q_uniform, min: 1, max: 64, q: 8}
"""


def written(found: Translation, folder: Path) -> SearchSpace:
    file = folder / "space.yaml"
    file.write_text(found.space_file())
    return load_space(file)


def studied(found: Translation, algorithm: str, env: str, folder: Path) -> StudySpec:
    file = folder / "study.yaml"
    file.write_text(found.study_file(algorithm, env))
    return check(draft_study(file, []))


def test_a_sweep_becomes_a_search_space(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    found = wandb.translate(file)
    made = written(found, tmp_path)
    domains = {p.name: p.domain for p in made}
    assert domains["learning_rate"] == Numeric(1e-5, 1e-2, log=True)
    by_exponents = domains["rate_by_exponents"]
    assert isinstance(by_exponents, Numeric)
    assert (by_exponents.low, by_exponents.high) == (pytest.approx(math.exp(-9)), pytest.approx(math.exp(-4.5)))
    assert domains["n_epochs"] == Numeric(1, 20, integer=True)
    assert domains["clip_range"] == Numeric(0.1, 1.0)
    assert domains["dropout"] == Numeric(0.0, 0.4, step=0.2)
    assert domains["width"] == Numeric(8, 512, log=True, integer=True)
    assert domains["rows"] == Numeric(32, 256, log=True, integer=True)
    assert domains["by_exponents"] == Numeric(8, 148, log=True, integer=True)
    assert domains["every"] == Numeric(8, 64, step=8, integer=True)
    assert domains["inverse"] == Numeric(0.001, 0.1, log=True)
    assert made["momentum"].prior == Prior(0.9, 0.01)
    assert made["scale"].prior == Prior(1.0, pytest.approx(1.0))
    assert [list(domains[name].values) for name in ("batch_size", "threads", "policy.net_arch")] == [  # type: ignore[union-attr]
        [32, 64, 128],
        [3],
        ["small", [128, 128]],
    ]
    assert "optimizer_name" in domains
    text = found.space_file()
    for said in (
        "#   sweep.yaml:1: program: train.py: no part of a search space",
        "#   sweep.yaml:14: skewed: {distribution: beta, a: 1, b: 2}: the distribution beta has no counterpart",
        "#   sweep.yaml:17: broken: {min: 3}: 'max' is missing",
        "activation: {values: [relu, tanh]}  # without its probabilities [0.3, 0.7]",
        "# 'optimizer.name' there",
    ):
        assert said in text


def test_what_is_no_sweep_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for text, says in (
        ("a: [", "x.yaml:1: not valid YAML|x.yaml:2: not valid YAML"),
        ("- 1\n", "not a mapping"),
        ("method: bayes\n", "no sweep of Weights & Biases"),
        ("a: &a [1]\nb: !!python/object:os.system x\n", "not valid YAML"),
    ):
        file.write_text(text)
        with pytest.raises(SpecError, match=says):
            wandb.translate(file)
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for above, name in zip("abcdefg", "bcdefgh", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{above}'] * 10)}]\n"
    file.write_text(bomb + "parameters: {x: {values: *h}}\n")
    with pytest.raises(SpecError, match="expand to more than"):
        wandb.translate(file)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("{distribution: q_uniform, min: 0, max: 1, q: 0}", "steps of 0 lead nowhere"),
        ("{distribution: q_uniform, min: 3, max: 7, q: 8}", "no multiple of 8 lies between them"),
        ("{min: 3, max: 1}", "its minimum is above its maximum"),
        ("{min: 0.5, max: 0.1}", "its minimum is above its maximum"),
        ("{distribution: log_uniform, min: -2.0, max: -7.0}", "its minimum is above its maximum"),
        ("{values: []}", "no list of values"),
        ("{values: abc}", "no list of values"),
    ],
)
def test_what_a_sweep_draws_nothing_from_is_a_comment(entry: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"parameters:\n  x: {entry}\n")
    found = wandb.translate(file)
    assert found.parameters == {}
    assert why in found.lost[0]


def test_a_choice_that_cannot_be_told_apart_from_another_is_said_to_be_lost(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("parameters:\n  x: {values: [false, 0, 0.1, 0.1, [0], [false], [0.0], 1, 1.0]}\n")
    found = wandb.translate(file)
    assert written(found, tmp_path)["x"].domain == Choice((False, 0.1, [0], [False], 1))
    assert found.remarks == {"x": ["without 0, which cannot be told apart from another choice"]}


def entries() -> list[tuple[Path, str]]:
    own = zoo._installed("ppo").parent
    found = []
    for file in sorted(own.glob("*.yml")):
        if file.stem not in ("her",):
            # The default entry of ppo_lstm has a policy that the algorithm does not know.
            listed = yaml.safe_load(file.read_text())
            found += [(file, env) for env in listed if (file.stem, env) != ("ppo_lstm", "default")]
    return found


def test_every_entry_of_rl_zoo3_becomes_a_valid_study(tmp_path: Path) -> None:
    listed = entries()
    assert len(listed) > 100
    study = tmp_path / "study.yaml"
    for file, env in listed:
        found, algorithm = zoo.hyperparameters(str(file), env)
        study.write_text(found.study_file(algorithm, env))
        check(draft_study(study, installed(algorithm, str(found.policy.get("name", "")))))


def installed(algorithm: str, policy: str) -> list[str]:
    """Return the overrides by which a study trains where only Gymnasium's environments are, and little memory."""
    env = "CartPole-v1" if algorithm in ("dqn", "qrdqn") else "Pendulum-v1"
    wrappers = "[probe_envs:Named]" if policy.startswith("MultiInput") else "[]"
    without_images = policy.replace("Cnn", "Mlp") or "MlpPolicy"
    return [f"task.env={env}", f"task.wrappers={wrappers}", f"policy.name={without_images}"]


@pytest.mark.parametrize(
    ("algorithm", "env"),
    [
        ("ppo", "CartPole-v1"),
        ("ppo", "MountainCarContinuous-v0"),
        ("a2c", "Pendulum-v1"),
        ("sac", "Pendulum-v1"),
        ("sac", "MountainCarContinuous-v0"),
        ("td3", "Pendulum-v1"),
        ("td3", "MountainCarContinuous-v0"),
        ("dqn", "CartPole-v1"),
        ("trpo", "Pendulum-v1"),
        ("ars", "Pendulum-v1"),
        ("tqc", "Pendulum-v1"),
    ],
)
def test_the_default_configuration_is_rl_zoo3s(algorithm: str, env: str, tmp_path: Path) -> None:
    found, name = zoo.hyperparameters(algorithm, env)
    spec = studied(found, name, env, tmp_path)
    recipe = default_recipe(spec, Sb3Backend())
    theirs: dict[str, Any] = yaml.safe_load(zoo._installed(algorithm).read_text())[env]
    assert recipe.env_steps == int(theirs["n_timesteps"])
    for key, value in theirs.items():
        if key in ("n_timesteps", "policy", "policy_kwargs"):
            continue
        ours = recipe.hyperparameters[key]
        if key == "learning_rate" and isinstance(value, str):
            assert recipe.hyperparameters["lr_schedule"] == "linear"
            value = float(value.removeprefix("lin_"))
        assert ours == (zoo._evaluated(value) if key == "normalize" else value), key
    kwargs = zoo._evaluated(theirs.get("policy_kwargs", "dict()"))
    assert {key: recipe.policy[key] for key in kwargs} == kwargs
    assert recipe.policy["name"] == theirs["policy"]
    assert "Not translated" not in found.study_file(name, env)


def test_names_of_autorls_find_rl_zoo3s_entries() -> None:
    for name in ("recurrent_ppo", "ppo_lstm"):
        assert zoo.hyperparameters(name, "CartPoleNoVel-v1")[1] == "recurrent_ppo"
    for env in ("BreakoutNoFrameskip-v4", "ALE/Breakout-v5"):
        found, algorithm = zoo.hyperparameters("dqn", env)
        theirs, _ = zoo.hyperparameters("dqn", "atari")
        assert (algorithm, found.env, found.fixed, found.steps) == ("dqn", env, theirs.fixed, theirs.steps)
    with pytest.raises(AutorlError, match=r"sac\.yml has no entry 'ALE/Breakout-v5'"):
        zoo.hyperparameters("sac", "ALE/Breakout-v5")


def test_networks_behind_images_are_stable_baselines3s(tmp_path: Path) -> None:
    for algorithm, behind in (("ppo", []), ("dqn", []), ("td3", [256, 256])):
        file = tmp_path / f"{algorithm}.yml"
        file.write_text("Pictures-v0:\n  n_timesteps: !!float 2e4\n  policy: CnnPolicy\n")
        found, _ = zoo.hyperparameters(str(file), "Pictures-v0")
        assert found.parameters["policy.net_arch"]["default"] == behind


def test_what_rl_zoo3_has_and_autorl_not_is_said(tmp_path: Path) -> None:
    file = tmp_path / "sac.yml"
    file.write_text(
        "defaults: &d\n  n_timesteps: !!float 2e4\n  policy: MlpPolicy\n"
        "Mine-v0:\n  <<: *d\n  env_wrapper:\n    - a.b.Wrapper:\n        horizon: 2\n    - c.Other\n"
        "  replay_buffer_class: HerReplayBuffer\n  ent_coef: 0.1\n  buffer_size: !!float 1e5\n"
        '  policy_kwargs: "dict(activation_fn=nn.GELU, net_arch=dict(pi=[8], qf=[16]), optimizer_class=Mine)"\n'
    )
    found, algorithm = zoo.hyperparameters(str(file), "Mine-v0")
    text = found.study_file(algorithm, "Mine-v0")
    assert "#   sac.yml:10: replay_buffer_class: HerReplayBuffer: backend sb3 has no replay buffer" in text
    assert "#   sac.yml:13: policy_kwargs.optimizer_class: Mine: Python code" in text
    study = tmp_path / "study.yaml"
    study.write_text(text)
    spec = load_study(study)
    assert spec.task.wrappers == ({"a.b:Wrapper": {"horizon": 2}}, "c:Other")
    assert spec.budget.steps_per_run == 20_000
    assert spec.space["ent_coef_auto"].default is False
    assert spec.space["policy.net_arch"].default == {"pi": [8], "qf": [16]}
    assert spec.space["policy.activation_fn"].default == "gelu"
    assert spec.space["buffer_size"].default == 100_000
    with pytest.raises(AutorlError, match=r"sac\.yml has no entry 'Mine-v1'; did you mean 'Mine-v0'"):
        zoo.hyperparameters(str(file), "Mine-v1")
    with pytest.raises(AutorlError, match="several entries; name one with --env: defaults, Mine-v0"):
        zoo.hyperparameters(str(file), None)
    with pytest.raises(AutorlError, match="no hyperparameters of 'pppo'; did you mean 'ppo'"):
        zoo.hyperparameters("pppo", None)


def test_code_within_what_rl_zoo3_says_is_said_to_be_lost(tmp_path: Path) -> None:
    (tmp_path / "ppo.yml").write_text(
        "CartPole-v1:\n  n_timesteps: 1000\n  policy: MlpPolicy\n  learning_rate: 0.002\n"
        "  policy_kwargs: 'dict(net_arch=dict(pi=[64]*2, vf=[64, 64]), log_std_init=-2)'\n"
        "  normalize: 'dict(norm_obs=True, clip_obs=LIMIT)'\n  env_kwargs: 'dict(a=[here()])'\n"
    )
    found, algorithm = zoo.hyperparameters(str(tmp_path / "ppo.yml"), "CartPole-v1")
    text = found.study_file(algorithm, "CartPole-v1")
    assert "policy_kwargs.net_arch" in text
    assert text.count(": Python code") == 3
    (tmp_path / "study.yaml").write_text(text)
    assert load_study(tmp_path / "study.yaml").policy.model_dump()["log_std_init"] == -2


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("env_wrapper: null", None),
        ("env_wrapper: 3", "no name of a wrapper"),
        ("env_wrapper: [a.B, {}]", "no name of a wrapper"),
        ("learning_rate: lin_", "could not convert string to float: ''"),
        ("learning_rate: lin_3e-4_1e-5", "could not convert string to float: '3e-4_1e-5'"),
        ("clip_range: lin_x", "could not convert string to float: 'x'"),
    ],
)
def test_what_means_nothing_to_rl_zoo3_either_is_a_comment(line: str, lost: str | None, tmp_path: Path) -> None:
    (file := tmp_path / "ppo.yml").write_text(f"CartPole-v1:\n  n_timesteps: 1000\n  policy: MlpPolicy\n  {line}\n")
    found, algorithm = zoo.hyperparameters(str(file), None)
    studied(found, algorithm, "CartPole-v1", tmp_path)
    assert len(found.lost) == (lost is not None)
    assert all(f"ppo.yml:4: {line}: {lost}" in one for one in found.lost)


def test_ones_own_file_of_rl_zoo3s_may_have_any_name(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.yml", tmp_path / "study.yaml"
    file.write_text("CartPole-v1:\n  n_timesteps: null\n  policy: MlpPolicy\n  learning_rate: 0.002\n")
    command = ["import", str(file), "--from", "rl-zoo3", "--out", str(out)]
    failed = CliRunner().invoke(app, command)
    assert "mine.yml: there is no search space of 'mine'; name the algorithm with --algorithm" in str(failed.exception)
    assert CliRunner().invoke(app, [*command, "--algorithm", "ppo"]).exit_code == 0
    spec = load_study(out)
    assert spec.algorithm.name == "ppo"
    assert spec.space["learning_rate"].default == 0.002
    assert "mine.yml:2: n_timesteps: null: int() argument must be" in out.read_text()


@pytest.mark.parametrize("algorithm", HYPERPARAMS_SAMPLER)
def test_what_rl_zoo3_samples_is_searched(algorithm: str, tmp_path: Path) -> None:
    found, name = sampled.sampler(algorithm)
    continuous = algorithm in ("sac", "td3", "tqc", "ddpg", "ars", "ppo_lstm")
    spec = studied(found, name, "Pendulum-v1" if continuous else "CartPole-v1", tmp_path)
    made = spec.space
    rate = made["learning_rate"].domain
    assert rate == Numeric(1e-5, 0.002, log=True)
    if algorithm != "ars":
        assert made["gamma"].transform == "one_minus"
        assert made["gamma"].domain == Numeric(0.0001, 0.03, log=True)
    if algorithm == "ppo":
        assert made["n_steps"].domain == Numeric(5, 12, integer=True)
        assert made["n_steps"].transform == "power_of_two"
        assert list(made["clip_range"].domain.values) == [0.1, 0.2, 0.3, 0.4]  # type: ignore[union-attr]
        assert {p.name for p in made if p.name.startswith("policy.")} == {"policy.net_arch", "policy.activation_fn"}
    if algorithm == "td3":
        assert list(made["noise_type"].domain.values) == ["ornstein-uhlenbeck", "normal", "none"]  # type: ignore[union-attr]
    if algorithm in ("dqn", "qrdqn"):
        assert "subsample_steps" not in [p.name for p in made]
        assert any("subsample_steps" in line for line in found.lost)
        assert made["gradient_steps"].domain == Numeric(1, 10, integer=True)
    elif "train_freq" in {p.name for p in made}:
        assert spec.algorithm.fixed["gradient_steps"] == -1


def test_a_configspace_is_taken_as_far_as_it_goes(tmp_path: Path) -> None:
    theirs = cs.ConfigurationSpace(name="mine")
    kind = cs.CategoricalHyperparameter("kind", ["a", "b", "c"])
    rate = cs.UniformFloatHyperparameter("rate", 1e-5, 1e-1, log=True, default_value=1e-3)
    odd = cs.NormalFloatHyperparameter("odd", 0.0, 1.0, lower=-2.0, upper=2.0)
    weighted = cs.CategoricalHyperparameter("weighted", ["x", "y"], weights=[1, 3])
    theirs.add([kind, rate, odd, weighted])
    theirs.add(cs.AndConjunction(cs.EqualsCondition(rate, kind, "b"), cs.EqualsCondition(rate, odd, 0.5)))
    theirs.add(cs.ForbiddenEqualsClause(kind, "c"))
    file = tmp_path / "mine.json"
    theirs.to_json(file)
    found = space.translate(file)
    made = written(found, tmp_path)
    assert [p.name for p in made] == ["kind", "weighted", "rate"]
    assert list(made["weighted"].domain.values) == ["x", "y"]  # type: ignore[union-attr]
    assert "# the weights [1, 3] of its choices have no counterpart here" in found.space_file()
    assert any("conditions: 'rate' depends on 'odd', which has no counterpart" in line for line in found.lost)
    assert made["rate"].when == (("kind", ("b",)),)
    assert made["rate"].default == 1e-3
    assert any("forbidden clause" in line for line in found.lost)
    assert any("odd" in line for line in found.lost)
    with pytest.raises(SpecError, match="no file of ConfigSpace"):
        space.translate(tmp_path / "space.yaml")


def test_a_constant_that_others_depend_on_stays_in_the_space(tmp_path: Path) -> None:
    theirs = cs.ConfigurationSpace()
    theirs.add(
        steps := cs.Constant("n_steps", 64),
        cs.Constant("n_epochs", 2),
        gamma := cs.UniformFloatHyperparameter("gamma", 0.9, 0.999),
    )
    theirs.add(cs.EqualsCondition(gamma, steps, 64))
    theirs.to_json(file := tmp_path / "mine.json")
    spec = studied(space.translate(file), "ppo", "CartPole-v1", tmp_path)
    assert spec.algorithm.fixed == {"n_epochs": 2}
    assert spec.space["gamma"].when == (("n_steps", (64,)),)


def test_names_that_are_none_here_are_written_otherwise(tmp_path: Path) -> None:
    theirs = cs.ConfigurationSpace()
    theirs.add(
        kernel := cs.CategoricalHyperparameter("svm:kernel", ["rbf", "poly"]),
        degree := cs.UniformIntegerHyperparameter("my degree", 2, 5),
        cs.UniformFloatHyperparameter("model.lr", 1e-4, 1e-1),
        cs.UniformFloatHyperparameter("policy.width", 0.5, 2.0),
        odd := cs.CategoricalHyperparameter("0", ["a", "b"]),
    )
    theirs.add(cs.AndConjunction(cs.EqualsCondition(degree, kernel, "poly"), cs.EqualsCondition(degree, odd, "a")))
    theirs.to_yaml(file := tmp_path / "mine.yaml")
    found = space.translate(file)
    made = written(found, tmp_path)
    assert {p.name for p in made} == {"svm_kernel", "my_degree", "model_lr", "policy.width"}
    assert made["my_degree"].when == (("svm_kernel", ("poly",)),)
    text = found.space_file()
    for said in ("'svm:kernel' there", "'model.lr' there", "'my degree' there; without its condition on '0'"):
        assert said in text
    assert any(line.endswith("0: its name is taken, or is none") for line in found.lost)


def optimized(storage: Any, **more: Any) -> optuna.Study:
    """Return a study of Optuna's with a condition, one configuration twice, and trials that did not finish."""
    study = optuna.create_study(
        study_name="theirs", storage=storage, sampler=optuna.samplers.RandomSampler(seed=1), **more
    )

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
        trial.suggest_int("n_steps", 32, 256, step=32)
        if trial.suggest_categorical("normalize", [True, False]):
            trial.suggest_float("clip_range_vf", 0.1, 1.0)
        if trial.number == 3:
            raise optuna.TrialPruned
        return -abs(math.log10(rate) + 3)

    study.optimize(objective, n_trials=12)
    best = study.best_trial
    study.ask({"learning_rate": best.distributions["learning_rate"]})  # of a process that was killed
    study.add_trial(optuna.create_trial(params=best.params, distributions=best.distributions, value=best.value))
    return study


def test_an_optuna_study_becomes_a_warm_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/theirs.db"
    theirs = optimized(url, direction="maximize")
    found = sampled.study(url, None, 3)
    spec = studied(found, "ppo", "CartPole-v1", tmp_path)
    assert spec.space["learning_rate"].domain == Numeric(1e-5, 1e-2, log=True)
    assert spec.space["n_steps"].domain == Numeric(32, 256, step=32, integer=True)
    assert spec.space["clip_range_vf"].when == (("normalize", (True,)),)
    ranked = sorted((t for t in theirs.trials[:12] if t.value is not None), key=lambda t: -t.value)
    assert [dict(one) for one in spec.optimizer.enqueue] == [t.params for t in ranked[:3]]
    for config, trial in zip(enqueued(spec, Sb3Backend()), ranked, strict=False):
        assert config.values == trial.params
    theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    space_only = written(found, tmp_path)
    assert [p.name for p in space_only] == [p.name for p in spec.space]
    assert "# optimizer:\n#   enqueue:" in found.space_file()


def test_what_violates_constraints_is_not_tried_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/theirs.db"
    theirs = optuna.create_study(storage=url, direction="maximize")
    values = (0.9, 0.2, 0.4, 0.7)  # of which the best two are above the bound
    for x in values:
        theirs.enqueue_trial({"x": x})

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint("bound", x - 0.5)
        return x

    theirs.optimize(objective, len(values))
    theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    assert sampled.study(url, None, 5).enqueue == [{"x": 0.4}, {"x": 0.2}]


def test_optunas_journals_and_mistakes(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    optimized(optuna.storages.JournalStorage(backend), directions=["maximize"])
    assert len(sampled.study(str(journal), "theirs", 2).enqueue) == 2
    with pytest.raises(AutorlError, match="has no study 'their'; did you mean 'theirs'"):
        sampled.study(str(journal), "their", 2)
    with pytest.raises(AutorlError, match="no database there"):
        sampled.study(f"sqlite:///{tmp_path}/none.db", None, 2)
    database = tmp_path / "their.db"
    optuna.create_study(storage=f"sqlite:///{database}")
    with pytest.raises(AutorlError, match=r"is a database, not the file of a journal: name it sqlite:///.*their\.db"):
        sampled.study(str(database), None, 2)
    journal.write_bytes(b"\xff\xfe no journal\n" * 3)
    with pytest.raises(AutorlError, match="is no journal of Optuna's that can be read"):
        sampled.study(str(journal), None, 2)
    with pytest.raises(AutorlError, match="neither a database URL nor the file of a journal"):
        sampled.study(str(tmp_path / "none.log"), None, 2)
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(AutorlError, match="no storage of Optuna's"):
        sampled.study(f"sqlite:///{tmp_path}/text.db", None, 2)
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_is_away_says_so_in_its_own_words() -> None:
    pytest.importorskip("psycopg", reason="extra 'postgres' is not installed")
    with pytest.raises(AutorlError, match=r"127\.0\.0\.1:1/db is no storage of .* read: .*refused") as refused:
        sampled.study("postgresql+psycopg://me:secret@127.0.0.1:1/db", None, 2)
    assert "secret" not in str(refused.value)


def test_a_study_of_rl_zoo3s_tuning_is_read_in_our_units(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/zoo.db"
    theirs = optuna.create_study(study_name="ppo", storage=url, sampler=optuna.samplers.RandomSampler(seed=0))
    theirs.optimize(
        lambda trial: HYPERPARAMS_SAMPLER["ppo"](trial, 1, 1, {"using_her_replay_buffer": False})["gamma"], 4
    )
    best = theirs.best_trial
    found = sampled.study(url, None, 1)
    spec = studied(found, "ppo", "CartPole-v1", tmp_path)
    (first,) = spec.optimizer.enqueue
    assert first["gamma"] == best.user_attrs["gamma"]
    assert first["n_steps"] == best.user_attrs["n_steps"]
    assert first["policy.net_arch"] == best.params["net_arch"]
    theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_gradient_steps_of_rl_zoo3s_tuning_follow_train_freq(algorithm: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/zoo.db"
    theirs = optuna.create_study(study_name="its", storage=url, sampler=optuna.samplers.RandomSampler(seed=0))
    more = {"using_her_replay_buffer": False, "her_kwargs": {}}
    theirs.optimize(lambda trial: HYPERPARAMS_SAMPLER[algorithm](trial, 1, 1, more)["gamma"], 6)
    params = theirs.best_trial.params
    env = "CartPole-v1" if algorithm == "dqn" else "Pendulum-v1"
    spec = studied(sampled.study(url, None, 1), algorithm, env, tmp_path)
    first = {**spec.algorithm.fixed, **spec.optimizer.enqueue[0]}
    divisor = params.get("subsample_steps")
    assert first["train_freq"] == params["train_freq"]
    assert first["gradient_steps"] == (max(params["train_freq"] // divisor, 1) if divisor else -1)
    theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]
