"""What is exported as data holds everything: it trains what the study trained, in the tools that it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from pydoc import locate
from typing import Any

import ConfigSpace
import gymnasium as gym
import numpy as np
import pytest
import states
import yaml
from pages import ROOT, block
from small_study import ignore, load
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.conductor import conduct
from autorl.errors import ExportError
from autorl.ledger.reader import Reader
from autorl.ledger.records import TrialRecord
from autorl.report.export import render
from autorl.report.findings import Findings, gather
from autorl.report.words import number
from autorl.spec.foreign import wandb
from autorl.spec.load import load_space
from autorl.training.sb3.plain import evaluate
from autorl.training.tasks import random_streams

TESTS = str(Path(__file__).parents[1])
PPO = (
    "algorithm.fixed={n_steps: 32, n_envs: 2, normalize: {norm_reward: false}, lr_schedule: linear, frame_stack: 2}",
)
SAC = (
    "task.env=Pendulum-v1",
    "algorithm.name=sac",
    "algorithm.fixed={learning_starts: 32, train_freq: [1, episode], noise_type: ornstein-uhlenbeck, noise_std: 0.2}",
    "search_space.parameters={learning_rate: {min: 1e-4, max: 1e-2, log: true}}",
    "budget={trials: 2, steps_per_run: 250}",
)
CASES = {"ppo": PPO, "sac": SAC}


def studied(folder: Path, *overrides: str) -> Findings:
    spec = load(folder, "budget={trials: 2, steps_per_run: 96}", "seeds={tuning: 0:1, test: 20:22}", *overrides)
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        return gather(reader, "small")


@pytest.fixture(scope="module", params=["ppo", pytest.param("sac", marks=pytest.mark.slow)])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return studied(tmp_path_factory.mktemp(request.param), *CASES[request.param])


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Return a study of which the ledger was written, and nothing trained."""
    spec = states.make("finished", tmp_path_factory.mktemp("plain"), "policy={}")
    with Reader(spec.storage) as reader:
        return gather(reader, "small")


def other(found: Findings, **recipe: Any) -> TrialRecord:
    """Return trial 1 with another recipe."""
    return replace(found.trials[1], recipe=replace(found.trials[1].recipe, **recipe))


def last_return(found: Findings, trial: int) -> float:
    with Reader(found.spec.storage) as reader:
        (curve,) = reader.curves("small", [trial], "tuning")
    return curve.points[-1].metrics["return"]


def made(value: Any) -> Any:
    """Make of data what Stable-Baselines3 takes."""
    if isinstance(value, dict) and "schedule" in value:
        return LinearSchedule(value["start"], value["end"], value["end_fraction"])
    if isinstance(value, dict) and "noise" in value:
        kind = NormalActionNoise if value["noise"] == "normal" else OrnsteinUhlenbeckActionNoise
        return kind(np.array(value["mean"]), np.array(value["std"]))
    if isinstance(value, str) and "." in value:
        return locate(value)
    return value


def test_data_is_all_that_stable_baselines3_needs(found: Findings) -> None:
    data = json.loads(render(found, found.trials[1], "json"))
    assert yaml.safe_load(render(found, found.trials[1], "yaml")) == data
    points = data["evaluation"]["points"]
    network, environment, evaluations = random_streams(0, points)

    def vectorized(count: int, **more: Any) -> VecEnv:
        env: VecEnv = DummyVecEnv([lambda: Monitor(gym.make(data["env"], **data["env_kwargs"]))] * count)
        env = VecFrameStack(env, data["frame_stack"]) if data["frame_stack"] else env
        return VecNormalize(env, **{**data["normalize"], **more}) if data["normalize"] else env

    env, kind = vectorized(data["n_envs"]), locate(data["class"])
    hyperparameters = {key: made(value) for key, value in data["hyperparameters"].items()}
    if isinstance(hyperparameters.get("train_freq"), list):
        hyperparameters["train_freq"] = tuple(hyperparameters["train_freq"])
    policy = {key: made(value) for key, value in data["policy"].items()}
    assert callable(kind)
    model = kind(policy.pop("name"), env, **hyperparameters, policy_kwargs=policy, seed=network, device="cpu")
    env.seed(environment)
    model.learn(data["env_steps"])
    eval_env = vectorized(data["evaluation"]["episodes"], training=False, norm_reward=False)
    assert evaluate(model, eval_env, evaluations[-1], True)["return"] == last_return(found, 1)


def test_data_says_where_it_comes_from(ppo: Findings) -> None:
    assert ppo.winner is not None
    data = json.loads(render(ppo, ppo.winner, "json"))
    origin = data["origin"]
    assert ppo.headline is not None
    assert origin["test"]["value"] == ppo.headline.tuned.value
    assert origin["test"]["low"] == ppo.headline.tuned.low
    assert (origin["study"], origin["trial"], origin["chosen"]) == ("small", ppo.winner.number, True)
    assert origin["test"]["seeds"] == [20, 21, 22]
    assert origin["versions"]["stable-baselines3"]
    assert origin["configuration"] == dict(ppo.winner.config.values)
    assert data["policy"]["net_arch"] == {"pi": [64, 64], "vf": [64, 64]}
    assert data["policy"]["activation_fn"] == "torch.nn.Tanh"
    assert data["hyperparameters"]["vf_coef"] == 0.5
    text = render(ppo, ppo.winner, "yaml")
    assert text.startswith(f"# Study small, trial {ppo.winner.number}: ppo")
    assert ppo.winner.number != 0
    default = number(ppo.headline.default.value)
    assert f" on test seeds, the default: {default} (" in render(ppo, ppo.trials[0], "yaml")


def test_architectures_that_nobody_named_are_written_out(ppo: Findings) -> None:
    sac = other(ppo, algorithm="sac", hyperparameters={}, env="Pendulum-v1")
    data = json.loads(render(ppo, sac, "json"))
    assert (data["class"], data["policy"]["net_arch"]) == ("stable_baselines3.SAC", [256, 256])
    assert (data["hyperparameters"]["ent_coef"], data["normalize"]) == ("auto", None)


PROGRAMS = Path(sys.prefix) / "programs"
APPLICATION = """\
import json, sys
import hydra
from hydra.utils import instantiate
from autorl.training.sb3.plain import evaluate, make_vec_env
from autorl.training.tasks import random_streams
from stable_baselines3.common.vec_env import VecNormalize

@hydra.main(version_base=None, config_path="conf", config_name="app")
def main(cfg):
    network, environment, evaluations = random_streams(0, cfg.points)
    env = instantiate(cfg.autorl.env)
    model = instantiate(cfg.autorl.model, env=env, seed=network, device="cpu")
    env.seed(environment)
    model.learn(cfg.autorl.env_steps)
    eval_env = make_vec_env(cfg.env, {}, [], 4, cfg.stack)
    if isinstance(env, VecNormalize):
        eval_env = VecNormalize(eval_env, norm_obs=env.norm_obs, training=False, norm_reward=False)
    print(json.dumps([cfg.mine, evaluate(model, eval_env, evaluations[-1], True)["return"]]))

main()
"""


def composed(folder: Path, found: Findings, application: str, config: dict[str, Any]) -> Any:
    """Compose the export of trial 1 in a Hydra application, and return what that prints."""
    assert PROGRAMS.is_dir(), "make install-dev installs it, apart from what Hydra and W&B cannot be installed with"
    (folder / "conf" / "autorl").mkdir(parents=True)
    for name in ("app", "config"):
        (folder / "conf" / f"{name}.yaml").write_text(yaml.safe_dump(config))
    (folder / "conf" / "autorl" / "winner.yaml").write_text(render(found, found.trials[1], "hydra"))
    (folder / "app.py").write_text(application)
    path = os.pathsep.join([str(PROGRAMS), TESTS, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "app.py", "+autorl=winner", "hydra.run.dir=."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_hydra_application_trains_what_the_study_trained(found: Findings, tmp_path: Path) -> None:
    stack = 2 if found.spec.algorithm.name == "ppo" else 0
    config = {"mine": 7, "points": found.spec.evaluation.points, "env": found.spec.task.env, "stack": stack}
    assert composed(tmp_path, found, APPLICATION, config) == [7, last_return(found, 1)]


def test_the_application_of_the_documentation_trains(found: Findings, tmp_path: Path) -> None:
    application = block("python", ROOT / "docs" / "export.md")
    assert composed(tmp_path, found, f"{application}print('[]')\n", {}) == []
    assert (tmp_path / "model.zip").exists()


CLEANRL = """\
import json
from dataclasses import asdict, dataclass

import tyro


@dataclass
class Args:
{options}


print(json.dumps(asdict(tyro.cli(Args))))
"""
OPTIONS = {
    "ppo": "seed: int = 1;env_id: str = 'CartPole-v1';total_timesteps: int = 500000;learning_rate: float = 2.5e-4;"
    "num_envs: int = 4;num_steps: int = 128;anneal_lr: bool = True;gamma: float = 0.99;gae_lambda: float = 0.95;"
    "num_minibatches: int = 4;update_epochs: int = 4;norm_adv: bool = True;clip_coef: float = 0.2;"
    "clip_vloss: bool = True;ent_coef: float = 0.01;vf_coef: float = 0.5;max_grad_norm: float = 0.5;"
    "target_kl: float | None = None",
    "dqn": "seed: int = 1;env_id: str = 'CartPole-v1';total_timesteps: int = 500000;learning_rate: float = 2.5e-4;"
    "num_envs: int = 1;buffer_size: int = 10000;gamma: float = 0.99;tau: float = 1.0;"
    "target_network_frequency: int = 500;batch_size: int = 128;start_e: float = 1;end_e: float = 0.05;"
    "exploration_fraction: float = 0.5;learning_starts: int = 10000;train_frequency: int = 10",
    "sac_continuous_action": "seed: int = 1;env_id: str = 'Hopper-v4';total_timesteps: int = 1000000;num_envs: int = 1;"
    "buffer_size: int = 1000000;gamma: float = 0.99;tau: float = 0.005;batch_size: int = 256;"
    "learning_starts: int = 5000;policy_lr: float = 3e-4;q_lr: float = 1e-3;policy_frequency: int = 2;"
    "target_network_frequency: int = 1;alpha: float = 0.2;autotune: bool = True",
    "ddpg_continuous_action": "seed: int = 1;env_id: str = 'Hopper-v4';total_timesteps: int = 1000000;"
    "learning_rate: float = 3e-4;buffer_size: int = 1000000;gamma: float = 0.99;tau: float = 0.005;"
    "batch_size: int = 256;exploration_noise: float = 0.1;learning_starts: int = 25000;policy_frequency: int = 2",
}
OPTIONS["td3_continuous_action"] = (
    OPTIONS["ddpg_continuous_action"] + ";num_envs: int = 1;policy_noise: float = 0.2;noise_clip: float = 0.5"
)
OPTIONS["ppo_continuous_action"] = OPTIONS["ppo"]  # their defaults differ


def commanded(folder: Path, text: str, script: str) -> dict[str, Any]:
    """Run an exported command with a script that takes CleanRL's options, and return what they were."""
    (folder / "cleanrl").mkdir()
    options = "\n".join(f"    {line}" for line in OPTIONS[script].split(";"))
    (folder / "cleanrl" / f"{script}.py").write_text(CLEANRL.format(options=options))
    file = folder / "train.sh"
    file.write_text(text)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", str(file)], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    taken: dict[str, Any] = json.loads(done.stdout)
    return taken


def test_cleanrls_script_takes_the_command(ppo: Findings, tmp_path: Path) -> None:
    own = {"n_steps": 32, "n_envs": 2, "batch_size": 16, "learning_rate": 0.001, "lr_schedule": "linear"}
    own |= {"target_kl": 0.02, "clip_range": 0.3}
    text = render(ppo, other(ppo, env="CartPole-v1", hyperparameters=own), "cleanrl")
    taken = commanded(tmp_path, text, "ppo")
    assert taken == {
        "seed": 20,
        "env_id": "CartPole-v1",
        "total_timesteps": 128,
        "learning_rate": 0.001,
        "num_envs": 2,
        "num_steps": 32,
        "anneal_lr": True,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "num_minibatches": 4,
        "update_epochs": 10,
        "norm_adv": True,
        "clip_coef": 0.3,
        "clip_vloss": False,
        "ent_coef": 0.0,
        "vf_coef": 1.0,
        "max_grad_norm": 0.5,
        "target_kl": pytest.approx(0.03),
    }
    (unlike,) = [line for line in text.splitlines() if "Not as in the study" in line]
    assert "where a time limit cuts an episode off" in unlike


def test_cleanrl_trains_whole_rollouts_as_stable_baselines3_does(ppo: Findings, tmp_path: Path) -> None:
    own = {"n_steps": 2048, "n_envs": 8, "batch_size": 64}
    for steps, rounded in ((50_000, 65_536), (100, 16_384), (32_768, 32_768)):
        (folder := tmp_path / str(steps)).mkdir()
        recipe = other(ppo, hyperparameters=own, env="CartPole-v1", env_steps=steps)
        assert commanded(folder, render(ppo, recipe, "cleanrl"), "ppo")["total_timesteps"] == rounded


def test_other_scripts_of_cleanrls_take_theirs(ppo: Findings, tmp_path: Path) -> None:
    for script, algorithm, env, own, expected in (
        (
            "sac_continuous_action",
            "sac",
            "Pendulum-v1",
            {"learning_rate": 0.002, "ent_coef": 0.1},
            {"policy_lr": 0.002, "q_lr": 0.002, "policy_frequency": 1, "autotune": False, "alpha": 0.1},
        ),
        (
            "dqn",
            "dqn",
            "CartPole-v1",
            {"learning_starts": 16, "train_freq": 8, "target_update_interval": 40},
            {"train_frequency": 8, "target_network_frequency": 40, "learning_starts": 16, "end_e": 0.05, "tau": 1.0},
        ),
        (
            "td3_continuous_action",
            "td3",
            "Pendulum-v1",
            {"policy_delay": 3, "target_noise_clip": 0.4, "noise_type": "normal", "noise_std": 0.25},
            {"policy_frequency": 3, "noise_clip": 0.4, "policy_noise": 0.2, "exploration_noise": 0.25},
        ),
        (
            "ddpg_continuous_action",
            "ddpg",
            "Pendulum-v1",
            {"learning_rate": 0.002, "tau": 0.01},
            {"learning_rate": 0.002, "tau": 0.01, "policy_frequency": 1, "exploration_noise": 0.0},
        ),
        (
            "ppo_continuous_action",
            "ppo",
            "Pendulum-v1",
            {"n_steps": 128, "n_envs": 2, "batch_size": 64},
            {"num_envs": 2, "num_steps": 128, "num_minibatches": 4, "vf_coef": 1.0, "env_id": "Pendulum-v1"},
        ),
    ):
        (folder := tmp_path / script).mkdir()
        text = render(ppo, other(ppo, algorithm=algorithm, hyperparameters=own, env=env), "cleanrl")
        taken = commanded(folder, text, script)
        assert {key: taken[key] for key in expected} == expected


def test_what_cleanrl_has_no_option_for_is_said(ppo: Findings) -> None:
    def said(**recipe: Any) -> list[str]:
        lines = render(ppo, other(ppo, **recipe), "cleanrl").splitlines()
        start = "# Not as in the study: "
        return [line.removeprefix(start) for line in lines if line.startswith(start)]

    own = {"n_steps": 32, "n_envs": 2, "normalize": True, "frame_stack": 2, "batch_size": 24, "clip_range_vf": 0.1}
    assert said(env="CartPole-v1", hyperparameters=own, policy={"net_arch": [8], "activation_fn": "relu"}) == [
        "the value of what follows is 0 where a time limit cuts an episode off.",
        "hidden layers [8], of which it has [64, 64].",
        "activation ReLU, of which it has Tanh.",
        "frame_stack 2.",
        "normalization of observations or rewards.",
        "minibatches of 24, which do not divide its 64 steps.",
        "clip_range_vf 0.1: it clips values as far as --clip-coef.",
    ]
    exploring = {"net_arch": [64, 64], "log_std_init": -2.0, "activation_fn": "tanh"}
    assert said(env="Pendulum-v1", hyperparameters={"n_steps": 64}, policy=exploring)[-1] == "policy.log_std_init -2.0."
    noisy = {"train_freq": [1, "episode"], "noise_type": "ornstein-uhlenbeck", "lr_schedule": "linear"}
    assert said(algorithm="td3", env="Pendulum-v1", hyperparameters=noisy) == [
        "hidden layers [400, 300], of which it has [256, 256].",
        "train_freq [1, 'episode'], of which it has 1.",
        "the schedule of learning_rate.",
        "Ornstein-Uhlenbeck noise: it draws each step's anew.",
    ]
    assert said(algorithm="dqn", env="CartPole-v1", hyperparameters={"train_freq": [1, "episode"]}) == [
        "its loss is squared, not Huber's.",
        "it clips no gradients.",
        "hidden layers [64, 64], of which it has [120, 84].",
        "train_freq [1, 'episode']: it counts steps.",
    ]


def test_an_algorithm_without_a_script_of_cleanrls_is_refused(ppo: Findings) -> None:
    with pytest.raises(
        ExportError, match=r"no script for a2c with discrete actions, only for ddpg .*; use --format sb3"
    ):
        render(ppo, other(ppo, algorithm="a2c", hyperparameters={}, env="CartPole-v1"), "cleanrl")


def test_configspaces_file_has_the_winner_as_default(ppo: Findings, tmp_path: Path) -> None:
    trial = ppo.trials[1]
    file = tmp_path / "space.json"
    file.write_text(render(ppo, trial, "configspace"))
    space = ConfigSpace.ConfigurationSpace.from_json(file)
    default = dict(space.get_default_configuration())
    assert default.keys() == trial.config.values.keys()
    for name, value in trial.config.values.items():
        assert default[name] == pytest.approx(ppo.spec.space[name].coordinate(value))
    written = json.loads(file.read_text())
    assert (written["origin"]["trial"], "outside" in written) == (1, False)
    wide = replace(trial, config=replace(trial.config, values=trial.config.values | {"batch_size": 64}))
    assert json.loads(render(ppo, wide, "configspace"))["outside"] == {"batch_size": 64}
    again = load_space(file)
    assert [p.name for p in again] == [p.name for p in ppo.spec.space]
    assert [(p.domain, p.transform, p.when) for p in again] == [(p.domain, p.transform, p.when) for p in ppo.spec.space]


# What trains in the user's project: options as W&B's agent passes them, one for each parameter of the sweep.
TRAIN = """\
import sys, torch, yaml
from autorl.training.sb3.plain import evaluate, make_vec_env
from autorl.training.tasks import random_streams
from stable_baselines3 import PPO

torch.set_num_threads(1)


def train(config):
    network, environment, evaluations = random_streams(0, 2)
    net_arch = config.pop("policy.net_arch")
    if not config.pop("vf_clip", False):
        config.pop("clip_range_vf", None)
    env = make_vec_env("Pendulum-v1", {}, [], 1, None)
    model = PPO("MlpPolicy", env, **config, policy_kwargs={"net_arch": net_arch}, seed=network, device="cpu")
    env.seed(environment)
    model.learn(96)
    return evaluate(model, make_vec_env("Pendulum-v1", {}, [], 4, None), evaluations[-1], True)["return"]


if __name__ == "__main__":
    print(train({name: yaml.safe_load(value) for name, value in (a[2:].split("=", 1) for a in sys.argv[1:])}))
"""


def plain_python(folder: Path, *arguments: str) -> str:
    """Run a program of the user's, beside the one that trains; return what it prints."""
    (folder / "train.py").write_text(TRAIN)
    path = os.pathsep.join([str(folder), str(PROGRAMS), TESTS, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Return a study that was trained, with conditions and a transform."""
    first = 'optimizer.enqueue=[{"batch_size": 16, "vf_clip": true, "clip_range_vf": 0.3}]'
    return studied(tmp_path_factory.mktemp("trained"), "task.env=Pendulum-v1", first)


SMAC = """\
import ConfigSpace, json, sys
from smac import HyperparameterOptimizationFacade as Facade, Scenario
from smac.initial_design.default_design import DefaultInitialDesign
from train import train

space = ConfigSpace.ConfigurationSpace.from_json("space.json")


def cost(configuration, seed):
    config = dict(configuration)
    config["gamma"] = 1 - config["gamma"]
    config["batch_size"] = 2 ** config["batch_size"]
    return -train({"n_steps": 32, "n_epochs": 2, "policy.net_arch": [8], **config})


scenario = Scenario(space, n_trials=2, deterministic=True, output_directory="smac")
smac = Facade(scenario, cost, initial_design=DefaultInitialDesign(scenario), logging_level=30)
smac.optimize()
print(json.dumps([value.cost for value in smac.runhistory.values()]))
"""


def test_smac_searches_the_space_and_begins_with_what_the_study_trained(trained: Findings, tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text(render(trained, trained.trials[1], "configspace"))
    (tmp_path / "search.py").write_text(SMAC)
    first, second = json.loads(plain_python(tmp_path, "search.py").splitlines()[-1])
    assert first == pytest.approx(-last_return(trained, 1), rel=1e-9)
    assert np.isfinite(second)


DRAWN = """\
import json, random, sys, warnings
warnings.simplefilter("ignore")
import numpy, sweeps, yaml
numpy.random.seed(3), random.seed(3)
config = yaml.safe_load(open("sweep.yaml"))
drawn = sweeps.next_run({**config, "method": "random"}, []).config
print(json.dumps({name: entry["value"] for name, entry in drawn.items()}, default=float))
"""


def test_what_wandb_draws_trains_what_the_study_trains_of_it(trained: Findings, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(render(trained, trained.trials[1], "wandb-sweep"))
    drawn = json.loads(plain_python(tmp_path, "-c", DRAWN))
    found = float(plain_python(tmp_path, "train.py", *(f"--{name}={json.dumps(drawn[name])}" for name in drawn)))
    searched = {p.name: drawn[p.name] for p in trained.spec.space}
    if not searched["vf_clip"]:
        del searched["clip_range_vf"]
    (folder := tmp_path / "again").mkdir()
    again = studied(folder, "task.env=Pendulum-v1", f"optimizer.enqueue={json.dumps([searched])}")
    assert last_return(again, 1) == pytest.approx(found, rel=1e-9)


def test_a_sweep_searches_the_same_values(ppo: Findings, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(render(ppo, ppo.trials[1], "wandb-sweep"))
    sweep = yaml.safe_load(file.read_text())
    assert sweep["metric"] == {"name": "return", "goal": "maximize"}
    assert sweep["parameters"]["batch_size"] == {"values": [8, 16, 32]}
    assert sweep["parameters"]["n_steps"] == {"value": 32}
    gammas = sweep["parameters"]["gamma"]["values"]
    assert (gammas[0], gammas[-1]) == (pytest.approx(0.9), pytest.approx(0.999))
    translated = wandb.translate(file)
    rate, own = translated.parameters["learning_rate"], ppo.spec.space["learning_rate"].domain
    assert (rate["min"], rate["max"], rate["log"]) == (own.low, own.high, True)  # type: ignore[union-attr]
    assert translated.parameters["vf_clip"] == {"values": [False, True]}
    assert "# only where vf_clip is true, which W&B cannot say" in file.read_text()
    assert {line.split(": ")[1] for line in translated.lost} == {"program", "method", "metric"}


def test_a_sweep_has_the_task_that_the_study_has(ppo: Findings) -> None:
    task = ppo.spec.task.model_copy(update={"env": "Pendulum-v1", "env_kwargs": {"g": 9.81}, "wrappers": ("a:B",)})
    spec = ppo.spec.model_copy(update={"task": task})
    text = render(replace(ppo, study=replace(ppo.study, spec=spec)), ppo.trials[1], "wandb-sweep")
    assert yaml.safe_load(text)["parameters"]["task.env_kwargs.g"] == {"value": 9.81}
    assert "your training script of ppo on Pendulum-v1, wrapped in a:B," in text


def test_a_sweep_of_steps_that_do_not_count_from_zero_has_the_studys_values(ppo: Findings, tmp_path: Path) -> None:
    space = "{n_epochs: {min: 1, max: 9, step: 2}, gae_lambda: {min: 0.8, max: 1.0, step: 0.1}, "
    space += "vf_coef: {min: 0.001, max: 0.999, step: 0.002}, "
    space += "batch_size: {min: 3, max: 7, step: 2, transform: power_of_two}}"
    spec = load(tmp_path, f"search_space.parameters={space}")
    text = render(replace(ppo, study=replace(ppo.study, spec=spec)), ppo.trials[1], "wandb-sweep")
    parameters = yaml.safe_load(text)["parameters"]
    assert parameters["n_epochs"] == {"values": [1, 3, 5, 7, 9]}
    assert parameters["gae_lambda"] == {"distribution": "q_uniform", "q": 0.1, "min": 0.8, "max": 1.0}
    assert parameters["batch_size"] == {"values": [8, 32, 128]}
    assert parameters["vf_coef"]["distribution"] == "uniform"
    assert "# without its steps of 0.002, which begin at 0.001" in text


SWEPT = """\
import json, sys, warnings
warnings.simplefilter("ignore")
import sweeps, yaml
config = yaml.safe_load(open(sys.argv[1]))
wrong = sweeps.schema_violations_from_proposed_config(config)
runs = [sweeps.next_run({**config, "method": "random"}, []).config for _ in range(40)]
print(json.dumps([wrong, [{name: run[name]["value"] for name in run} for run in runs]], default=float))
"""


def test_what_draws_wandb_runs_draws_from_the_studys_space(ppo: Findings, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(render(ppo, ppo.trials[1], "wandb-sweep"))
    environment = {**os.environ, "PYTHONPATH": str(PROGRAMS)}
    command = [sys.executable, "-c", SWEPT, str(tmp_path / "sweep.yaml")]
    drawn = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    wrong, runs = json.loads(drawn.stdout)
    assert wrong == []
    for name in ("learning_rate", "gamma"):
        parameter = ppo.spec.space[name]
        values = [run[name] for run in runs]
        low, high = sorted(parameter.value(end) for end in (parameter.domain.low, parameter.domain.high))  # type: ignore[union-attr]
        assert len(set(values)) > 10
        assert low * 0.999 <= min(values) < max(values) <= high * 1.001
    assert {run["batch_size"] for run in runs} == {8, 16, 32}
    assert {run["vf_clip"] for run in runs} == {False, True}


def test_the_command_writes_each_format_whole_or_not_at_all(ppo: Findings, tmp_path: Path) -> None:
    for form in ("yaml", "json", "hydra", "configspace", "wandb-sweep"):
        file = tmp_path / form
        command = ["export", "small", "--storage", ppo.spec.storage, "--format", form, "--out", str(file)]
        assert CliRunner().invoke(app, command).exit_code == 0
        assert file.read_text() == render(ppo, ppo.winner or ppo.trials[0], form)
    nowhere = [
        "export",
        "small",
        "--storage",
        ppo.spec.storage,
        "--format",
        "json",
        "--out",
        str(tmp_path / "no" / "x"),
    ]
    failed = CliRunner().invoke(app, nowhere)
    assert "cannot be written" in str(failed.exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["configspace", "hydra", "json", "wandb-sweep", "yaml"]
