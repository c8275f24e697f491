"""Study files: read, included, overridden; every mistake at once, each with its line."""

# ruff: noqa: E501 - a row of the tables below is one mistake and its message

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.errors import SpecError
from autorl.spec.load import draft_study, load_space, load_study
from autorl.spec.study import StudySpec

ROOT = Path(__file__).parents[2]
STUDY = """\
study: s
task: {env: CartPole-v1}
algorithm: {backend: sb3, name: ppo}
search_space:
  parameters:
    learning_rate: {min: 1e-5, max: 1e-2, log: true}
    policy.net_arch: {values: [tiny, small]}
    vf_clip: {values: [false, true]}
    clip_range_vf: {min: 0.05, max: 1.0, when: {vf_clip: true}}
seeds: {tuning: 0:3, test: 100:110}
budget: {trials: 20, steps_per_run: 8_192}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A function that writes files and returns the path of the first, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text, **others):
        Path("s.yaml").write_text(text)
        for name, content in others.items():
            Path(f"{name}.yaml").write_text(content)
        return Path("s.yaml")

    return write


def mistakes(path, *overrides):
    with pytest.raises(SpecError) as caught:
        load_study(path, overrides)
    return [str(problem) for problem in caught.value.problems]


def space(parameters):
    head, _, tail = STUDY.partition("    learning_rate")
    return head + "".join(f"    {line}\n" for line in parameters) + tail[tail.index("seeds:") :]


def test_the_environment_names_the_database_of_a_study_that_names_none(file, monkeypatch):
    monkeypatch.setenv("AUTORL_STORAGE", "sqlite:///elsewhere.db")
    path = file(STUDY)
    assert load_study(path).storage == "sqlite:///elsewhere.db"
    assert load_study(path, ["storage=sqlite:///asked.db"]).storage == "sqlite:///asked.db"
    monkeypatch.setenv("AUTORL_STORAGE", "no url")
    assert mistakes(path)[0].startswith("$AUTORL_STORAGE: storage: ")
    monkeypatch.setenv("AUTORL_STORAGE", "")
    assert load_study(path).storage == "sqlite:///autorl.db"


def test_validate_shows_no_password(file, monkeypatch):
    monkeypatch.setenv("AUTORL_STORAGE", "postgresql://me:secret@host/db")
    shown = CliRunner().invoke(app, ["validate", str(file(STUDY))]).output
    assert "storage: postgresql://me@host/db" in shown
    assert "secret" not in shown


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_study_is_read_and_survives_the_ledger(path):
    spec = load_study(path)
    assert len(spec.space) > 0
    assert len(spec.seeds.test) > 0
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_space_is_read(path):
    assert len(load_space(path)) > 3


def test_numbers_and_seeds_mean_what_they_say(file):
    spec = load_study(file(STUDY.replace("8_192", "1e6").replace("tuning: 0:3", "tuning: [3, 1], validation: 7")))
    assert spec.budget.steps_per_run == 1_000_000
    assert spec.seeds.tuning == (3, 1)
    assert spec.seeds.validation == (7,)
    assert spec.seeds.test == tuple(range(100, 110))
    assert not spec.space["learning_rate"].domain.integer


# One mistake: the line, the key, the value and what is allowed.
ONE = [
    ("study: s", "study: a b", "1: study: 'a b' is not allowed; use letters, digits"),
    ("study: s", "study: 3", "1: study: 3: must be text"),
    ("study: s\n", "", "1: study: missing key: Name of the study"),
    ("task: {env: CartPole-v1}", "task: CartPole-v1", "2: task: 'CartPole-v1': must be a mapping of keys to values"),
    ("{env: CartPole-v1}", "{env: CartPole-v1, env_kwarg: {}}", "2: task.env_kwarg: unknown key; did you mean 'env_kwargs'?"),
    ("{env: CartPole-v1}", "{env: C, wrappers: [3]}", "2: task.wrappers.0: 3: must be text or a mapping"),
    ("{env: CartPole-v1}", "{env: C, wrappers: ['a:B', {x: 3}]}", "2: task.wrappers.1.x: 3: must be a mapping"),
    ("seeds:", "sedes:", "10: sedes: unknown key; did you mean 'seeds'?"),
    ("tuning: 0:3, ", "", "10: seeds.tuning: missing key: Seeds that every trial is trained on."),
    ("0:3", "0:101", "10: seeds.test: tuning and test share seed 100; they must not overlap"),
    ("0:3", "0:200", "10: seeds.test: tuning and test share seeds 100, 101, 102, 103, 104 and 5 more; they must"),
    ("0:3", "[1, 2, 1]", "10: seeds.tuning: seed 1 is named twice"),
    ("0:3", "3:3", "10: seeds.tuning: the range 3:3 is empty; its end is not included, so write at least 3:4"),
    ("0:3", "0-3", "10: seeds.tuning: '0-3' is no range; write a half-open one such as 0:5"),
    ("0:3", "", "10: seeds.tuning: null: must be a range such as 0:5, or a list"),
    ("0:3", "-1", "10: seeds.tuning: -1: must be at least 0"),
    ("0:3", "[]", "10: seeds.tuning: []: must be a list with at least 1 entry"),
    ("0:3", "0:99999", "10: seeds.tuning: 0:99999 is more than 10,000 seeds"),
    ("trials: 20", "trials: '20'", "11: budget.trials: '20': must be a whole number"),
    ("trials: 20", "trials: true", "11: budget.trials: true: must be a whole number"),
    ("trials: 20", "trials: 2.5", "11: budget.trials: 2.5: must be a whole number"),
    ("trials: 20", "trials: 0", "11: budget.trials: 0: must be above 0"),
    ("trials: 20", "trials: .inf", "11: budget.trials: .inf: must be a finite number"),
    ("trials: 20", "trails: 20", "11: budget.trails: unknown key; did you mean 'trials'?"),
    ("{trials: 20, steps_per_run: 8_192}", "", "11: budget: empty: must be a mapping of keys to values"),
    ("budget", "optimizer:\nbudget", "11: optimizer: empty: must be a mapping of keys to values; leave the key out for"),
    ("budget", "execution: {workers: 0}\nbudget", "11: execution.workers: 0: must be above 0 or 'auto'"),
    ("budget", "execution: {workers: many}\nbudget", "11: execution.workers: 'many': must be a whole number or 'auto'"),
    ("budget", "objectives: [{direction: maximise}]\nbudget", "11: objectives.0.direction: 'maximise' is not allowed; did you mean 'maximize'?"),
    ("budget", "objectives: [{}, {}]\nbudget", "11: objectives.1: 'return' is an objective already; leave one of them out"),
    ("budget", "objectives: [{over_run: steps_to, direction: minimize}]\nbudget", "11: objectives.0.threshold: give the value that the metric is to reach"),
    ("budget", "objectives: [{threshold: 3}]\nbudget", "11: objectives.0.threshold: only 'over_run: steps_to' uses it, this is 'last'"),
    ("budget", "objectives: [{over_run: steps_to, threshold: 3}]\nbudget", "11: objectives.0.direction: fewer steps to return 3 are better"),
    ("budget", "objectives: [{metric: cpu_seconds}]\nbudget", "11: objectives.0.direction: fewer cpu_seconds are better"),
    ("budget", "constraints: [{metric: length}]\nbudget", "11: constraints.0: give 'at_most' or 'at_least', one of them"),
    ("budget", "constraints: [{at_most: 1, at_least: 0}]\nbudget", "11: constraints.0: give 'at_most' or 'at_least', one of them"),
    ("budget", "constraints: [{at_most: 1, probability: 1}]\nbudget", "11: constraints.0.probability: 1: must be below 1"),
    ("budget", "evaluation: {deterministic: yes}\nbudget", "11: evaluation.deterministic: 'yes': must be true or false"),
    ("budget", "storage: autorl.db\nbudget", "11: storage: 'autorl.db' is no database URL; write sqlite:///FILE.db"),
    ("budget", "study: t\nbudget", "11: study: duplicate key; it was first written at s.yaml:1; keep one"),
    ("budget", "policy: {net_arch: 3}\nbudget", "11: policy.net_arch: 3: must be text or a list or a mapping"),
    ("budget", '"a\\nb": 1\nbudget', "11: a\\nb: unknown key"),
    ("min: 1e-5, max: 1e-2", "min: 1, max: 0.5", "6: search_space.parameters.learning_rate.min: min 1 is not below max 0.5"),
    ("min: 1e-5", "min: 0", "6: search_space.parameters.learning_rate.min: a logarithmic scale needs min above 0, not 0"),
    ("log: true", "log: on", "6: search_space.parameters.learning_rate.log: 'on': must be true or false"),
    ("min: 1e-5, ", "", "6: search_space.parameters.learning_rate: a range needs both 'min' and 'max'; 'min' is missing"),
    ("min: 1e-5", "min: '1e-5'", "6: search_space.parameters.learning_rate.min: '1e-5': must be a number"),
    ("min: 1e-5, max: 1e-2, log: true", "", "6: search_space.parameters.learning_rate: give either 'min' and 'max', or 'values'"),
    ("log: true", "lgo: true", "6: search_space.parameters.learning_rate.lgo: unknown key; did you mean 'log'?"),
    ("log: true", "step: 0.003", "6: search_space.parameters.learning_rate.step: steps of 0.003 from 1e-05 do not end at 0.01; write max 0.00901"),
    ("log: true", "transform: one_minsu", "6: search_space.parameters.learning_rate.transform: 'one_minsu' is not allowed; did you mean 'one_minus'?"),
    ("log: true", "log: true, prior: {mean: 2e-2, std: 1}", "6: search_space.parameters.learning_rate.prior: mean 0.02 is outside the range, which goes from 1e-05 to 0.01"),
    ("log: true", "log: true, prior: {mean: 1e-3, std: 0}", "6: search_space.parameters.learning_rate.prior.std: 0: must be above 0"),
    ("log: true", "log: true, prior: {mean: a, std: 1}", "6: search_space.parameters.learning_rate.prior.mean: 'a': must be a number"),
    ("log: true", "log: true, prior: {mean: 1e-3}", "6: search_space.parameters.learning_rate.prior.std: missing key: Standard deviation"),
    ("log: true", "log: true, prior: {mean: 1e-3, sdt: 1}", "6: search_space.parameters.learning_rate.prior.sdt: unknown key; did you mean 'std'?"),
    ("log: true", "log: true, prior: 1e-3", "6: search_space.parameters.learning_rate.prior: 0.001: must be a mapping of keys to values"),
    ("max: 1e-2, log: true", "max: 0.5, transform: one_minus, prior: {mean: 0.3, std: 1}", "6: search_space.parameters.learning_rate.prior: mean 0.3 is outside the range, which goes from 0.5 to 0.99999"),
    ("min: 1e-5, max: 1e-2, log: true", "min: 2, max: 5, transform: power_of_two, prior: {mean: -8, std: 1}", "6: search_space.parameters.learning_rate.prior: mean -8 is outside the range, which goes from 4 to 32"),
    ("[tiny, small]", "[a], prior: {mean: 1, std: 1}", "7: search_space.parameters.policy.net_arch.prior: 'prior' goes with a range, not with 'values'"),
    ("[tiny, small]", "[]", "7: search_space.parameters.policy.net_arch.values: []: must be a list with at least 1"),
    ("[tiny, small]", "[a, a]", "7: search_space.parameters.policy.net_arch.values: the choice 'a' is listed twice"),
    ("[tiny, small]", "[1, true]", "7: search_space.parameters.policy.net_arch.values: the choices 1 and true cannot be told apart"),
    ("[tiny, small]", "[a], min: 1", "7: search_space.parameters.policy.net_arch.min: 'min' goes with a range, not with 'values'"),
    ("policy.net_arch", "polcy.net_arch", "7: search_space.parameters.polcy.net_arch: 'polcy.net_arch' addresses no part of a study; allowed:"),
    ("policy.net_arch", "a b", "7: search_space.parameters.a b: 'a b' is not allowed; use letters"),
    ("{vf_clip: true}", "{vf_clop: true}", "9: search_space.parameters.clip_range_vf.when.vf_clop: no parameter has this name; did you mean 'vf_clip'?"),
    ("{vf_clip: true}", "{vf_clip: 1}", "9: search_space.parameters.clip_range_vf.when.vf_clip: vf_clip is never 1; its values are [false, true]"),
    ("{vf_clip: true}", "{vf_clip: []}", "9: search_space.parameters.clip_range_vf.when.vf_clip: an empty list"),
    ("{vf_clip: true}", "{learning_rate: 0.001}", "9: search_space.parameters.clip_range_vf.when.learning_rate: learning_rate is a continuous range"),
    ("{vf_clip: true}", "{clip_range_vf: 0.1}", "9: search_space.parameters.clip_range_vf.when"),
    ("[false, true]", "[false, true], when: {clip_range_vf: 1}, default: 1", "8: search_space.parameters.vf_clip.when"),
    ("when: {vf_clip: true}", "sets: learning_rate", "9: search_space.parameters.clip_range_vf: sets 'learning_rate', as 'learning_rate' does"),
    ("task: {env: CartPole-v1}", "task:\n\tenv: x", "3: not valid YAML: while scanning for the next token found character that cannot start any token; indent with spaces"),
    ("study: s", "study: a: b", "1: not valid YAML: mapping values are not allowed in this context; quote a value"),
    ("[tiny, small]", "[tiny, small", "7: not valid YAML"),
    ("budget: {", "---\nbudget: {", "11: a second document starts here"),
    ("study: s", "? [a]\n: s", "1: a key must be a plain word"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), ONE, ids=[message[:70] for _, _, message in ONE])
def test_a_mistake_is_named_with_its_line(file, old, new, message):
    assert STUDY.count(old) >= 1
    found = mistakes(file(STUDY.replace(old, new, 1)))
    assert found[0].startswith(f"s.yaml:{message}")
    # A circle through a continuous range is two mistakes.
    assert len(found) == 1 or "when" in found[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "1: is empty; a study file is"), ("# x\n", "1: is empty"), ("- a\n", "1: holds no keys; a study"), ("x", "1: holds")],
)  # fmt: skip
def test_a_file_without_keys_is_no_study(file, text, message):
    (found,) = mistakes(file(text))
    assert found.startswith(f"s.yaml:{message}")


def test_a_file_that_cannot_be_read_is_no_traceback(tmp_path):
    assert mistakes(tmp_path / "no.yaml") == [f"{tmp_path}/no.yaml: cannot be read: No such file or directory"]
    assert mistakes(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert "cannot be read" in mistakes(Path("a\0b"))[0]


def test_a_byte_order_mark_is_no_mistake(file):
    assert load_study(file("\ufeff" + STUDY)).study == "s"


def test_a_circle_is_shown(file):
    found = mistakes(
        file(
            space(
                ["a: {values: [1], when: {b: 1}}", "b: {values: [1], when: {c: 1}}", "c: {values: [1], when: {b: 1}}"]
            )
        )
    )
    assert found == [
        "s.yaml:7: search_space.parameters.b.when: the conditions go round in a circle: b → c → b; remove one of them"
    ]


def test_a_key_may_be_set_twice_if_the_conditions_exclude_each_other(file):
    lines = [
        "algorithm.name: {values: [ppo, a2c, dqn]}",
        "kind: {values: [x, y], when: {algorithm.name: [ppo, a2c]}}",
        "a: {min: 1, max: 3, sets: n, when: {kind: x}}",
        "b: {min: 1, max: 3, sets: n, when: {kind: y}}",
        "c: {min: 1, max: 3, sets: n, when: {algorithm.name: dqn}}",
    ]
    assert len(load_study(file(space(lines))).space) == 5
    found = mistakes(file(space([*lines, "n: {min: 1, max: 3, when: {algorithm.name: [a2c]}}"])))
    assert found == [
        "s.yaml:11: search_space.parameters.n: sets 'n', as 'a' does; give them conditions that exclude each other"
    ]


TEN = """\
study: my study
task: {env: CartPol-v1, wraper: []}
algorithm: {name: ppo, fixed: {gama: 0.9}}
search_space: space.yaml
objectives: [{metric: retrun, direction: maximise}]
seeds: {tuning: 0:3, test: 2:12}
budget: {trials: 0, steps_per_run: 8_192}
optimizer: {name: tpee, seed: 0}
execution:
  executor: proceses
optimizer: {name: tpee, seed: -1}
"""
SPACE = """\
parameters:
  learning_rat: {min: 1e-2, max: 1e-5, log: true}
  policy.net_arch: {values: [tiny, smal]}
"""


def test_every_mistake_of_every_kind_is_one_line(file):
    """Through the command line, with what only the plugins and the backend can see."""
    path = file(TEN, space=SPACE)
    done = subprocess.run(
        [sys.executable, "-m", "autorl", "validate", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    *lines, last = done.stderr.splitlines()
    places = [": ".join(line.split(": ")[:2]) for line in lines]
    assert places == [
        "s.yaml:1: study",
        "s.yaml:2: task.wraper",
        "s.yaml:2: task.env",
        "s.yaml:3: algorithm.fixed.gama",
        "s.yaml:5: objectives.0.direction",
        "s.yaml:5: objectives.0.metric",
        "s.yaml:6: seeds.test",
        "s.yaml:7: budget.trials",
        "s.yaml:10: execution.executor",
        "s.yaml:11: optimizer",
        "s.yaml:11: optimizer.seed",
        "s.yaml:11: optimizer.name",
        "space.yaml:2: parameters.learning_rat.min",
        "space.yaml:2: parameters.learning_rat",
        "space.yaml:3: parameters.policy.net_arch",
    ]
    assert last.startswith("15 problems")


def test_no_mistake_follows_from_another(file):
    """DQN cannot train on this environment, but a wrapper might have helped: that is not said."""
    from autorl.engine.check import check

    path = file(
        space(["gamma: {min: 0.9, max: 0.99}"])
        .replace("{env: CartPole-v1}", "{env: MountainCarContinuous-v0, wraper: [3]}")
        .replace("name: ppo", "name: dqn")
    )
    with pytest.raises(SpecError) as caught:
        check(draft_study(path))
    assert [problem.key for problem in caught.value.problems] == ["task.wraper"]


def test_what_cannot_be_normalized_is_refused_before_it_trains(file):
    from autorl.engine.check import check

    discrete = STUDY.replace("CartPole-v1", "FrozenLake-v1")
    assert check(draft_study(file(discrete))).task.env == "FrozenLake-v1"
    with pytest.raises(SpecError, match=r"ppo cannot train on FrozenLake-v1: VecNormalize only supports"):
        check(draft_study(file(discrete), ["algorithm.fixed={normalize: true}"]))


# Includes.


def test_a_study_is_laid_over_what_it_includes(file):
    path = file(
        "include: [base.yaml, sub/more.yaml]\nstudy: t\nbudget: {trials: 5}\n",
        base=STUDY.replace("trials: 20", "trials: 7"),
    )
    Path("sub").mkdir()
    Path("sub/more.yaml").write_text("search_space: ../space.yaml\noptimizer: {seed: 4}\n")
    Path("space.yaml").write_text("parameters:\n  gamma: {min: 0.9, max: 0.99}\n")
    spec = load_study(path)
    assert (spec.study, spec.budget.trials, spec.budget.steps_per_run, spec.optimizer.seed) == ("t", 5, 8192, 4)
    assert [p.name for p in spec.space] == ["gamma"]


def test_a_mistake_in_an_included_file_is_named_there(file):
    path = file("include: base.yaml\nbudget: {trials: 5}\n", base=STUDY.replace("8_192", "-1").replace("20", "-1"))
    assert mistakes(path) == ["base.yaml:11: budget.steps_per_run: -1: must be above 0"]


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("bsae.yaml", "s.yaml:1: include: bsae.yaml: cannot be read: No such file or directory; did you mean 'base.yaml'?"),
        ("{a: 1}", "s.yaml:1: include: {'a': 1}: must be a path, or a list of paths"),
        ("[3]", "s.yaml:1: include: 3: must be a path, or a list of paths"),
        ("s.yaml", "s.yaml:1: include: 's.yaml' includes itself: s.yaml → s.yaml"),
        ("broken.yaml", "broken.yaml:2: not valid YAML"),
        ("list.yaml", "list.yaml:1: an included file is a mapping of keys to values"),
    ],
)  # fmt: skip
def test_an_include_that_fails_hides_no_other_mistake(file, include, message):
    path = file(f"include: {include}\noptimizer: {{seed: x}}\n", base=STUDY, broken="a: [\n", list="- a\n")
    found = mistakes(path)
    assert sorted(line.startswith(message) for line in found) == [False, True]
    assert "s.yaml:2: optimizer.seed: 'x': must be a whole number" in found


def test_includes_end(file):
    for index in range(20):
        Path(f"i{index}.yaml").write_text(f"include: i{index + 1}.yaml\n")
    assert "more than 8 files deep" in mistakes(file("include: i0.yaml\n"))[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spce.yaml", "s.yaml:4: search_space: spce.yaml: cannot be read: No such file or directory; did you mean 'space.yaml'?"),
        (".", "s.yaml:4: search_space: .: cannot be read: Is a directory"),
        ('"a\\0b"', "s.yaml:4: search_space: a\\x00b: cannot be read"),
        ("empty.yaml", "empty.yaml:1: a search-space file is a mapping with the key 'parameters'"),
        ("space.yaml", "space.yaml:3: parameters.a: duplicate key; it was first written at space.yaml:2; keep one"),
    ],
)  # fmt: skip
def test_a_search_space_file_that_fails_is_named(file, name, message):
    head, _, tail = STUDY.partition("search_space:")
    path = file(
        f"{head}search_space: {name}\n{tail[tail.index('seeds:') :]}",
        space="parameters:\n  a: {min: 1, max: 2}\n  a: {min: 1, max: 2}\n",
        empty="",
    )
    (found,) = mistakes(path)
    assert found.startswith(message)


# Overrides.


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("budget.trials=8", lambda spec: spec.budget.trials == 8),
        ("optimizer.seed=3", lambda spec: spec.optimizer.seed == 3),
        ("optimizer={name: random}", lambda spec: spec.optimizer.name == "random"),
        ("objectives.0.metric=length", lambda spec: spec.objective.metric == "length"),
        ("seeds.tuning=[5, 6]", lambda spec: spec.seeds.tuning == (5, 6)),
        ("algorithm.fixed.n_envs=8", lambda spec: spec.algorithm.fixed == {"n_envs": 8}),
        ("task.env_kwargs.a.b=1", lambda spec: spec.task.env_kwargs == {"a": {"b": 1}}),
        ("search_space.parameters.learning_rate.max=0.5", lambda spec: spec.space["learning_rate"].domain.high == 0.5),
        ("search_space.parameters.policy.net_arch.values=[a, b]", lambda spec: spec.space["policy.net_arch"].domain.values == ("a", "b")),
        ("search_space.parameters.policy.net_arch.values.1=c", lambda spec: spec.space["policy.net_arch"].domain.values == ("tiny", "c")),
        ("search_space.parameters.policy.ortho_init={values: [true, false]}", lambda spec: "policy.ortho_init" in [p.name for p in spec.space]),
        ("search_space.parameters.policy.ortho_init.values=[true]", lambda spec: "policy.ortho_init" in [p.name for p in spec.space]),
        ("search_space.parameters.clip_range_vf.when.vf_clip=false", lambda spec: spec.space["clip_range_vf"].when == (("vf_clip", (False,)),)),
        ("search_space.parameters.clip_range_vf.when.policy.net_arch=tiny", lambda spec: ("policy.net_arch", ("tiny",)) in spec.space["clip_range_vf"].when),
        ("search_space=other.yaml", lambda spec: [p.name for p in spec.space] == ["gamma"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("inline", [True, False])
def test_an_override_changes_one_key(file, override, found, inline):
    head, _, rest = STUDY.partition("search_space:\n")
    body, seeds, tail = rest.partition("seeds:")
    text = STUDY if inline else f"{head}search_space: own.yaml\n{seeds}{tail}"
    own = "\n".join(line[2:] for line in body.splitlines())
    path = file(text, own=own, other="parameters:\n  gamma: {min: 0.9, max: 0.99}\n")
    assert not found(load_study(path))
    assert found(load_study(path, [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.trails=8", "budget.trails: unknown key; did you mean 'trials'?"),
        ("budgt.trials=8", "budgt: unknown key; did you mean 'budget'?"),
        ("budget.trials=x", "budget.trials: 'x': must be a whole number"),
        ("budget.trials", "budget.trials: an override is written key=value, such as budget.trials=8"),
        ("=8", "an override is written key=value"),
        ("budget..trials=8", "budget..trials: an override is written key=value"),
        ("study.a=3", "study.a: 'study' holds a value, not keys"),
        ("search_space.parameters.policy.net_arch.values.5=a", "search_space.parameters.policy.net_arch.values.5: 'search_space.parameters.policy.net_arch.values' is a list of 2, counted from 0; it has no '5'"),
        ("search_space.parameters.policy.net_arch.values.²=a", "search_space.parameters.policy.net_arch.values.²: 'search_space"),
        ("budget.trials=[1", "budget.trials: not valid YAML"),
        ("budget={trials: 1, trials: 2, steps_per_run: 3}", "budget: duplicate key"),
        ("budget.trials=*a", "budget.trials: alias '*a'"),
        ("budget.trials=\udcff", "budget.trials: not UTF-8"),
        ("include=base.yaml", "include: files are included by the study file"),
        ("search_space=no.yaml", "search_space: no.yaml: cannot be read"),
        ("seeds.test=2", "seeds.test: tuning and test share seed 2"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_named_as_such(file, override, message):
    (found,) = mistakes(file(STUDY), override)
    assert found.startswith(f"command line: {message}")


def test_overrides_and_the_file_are_reported_together(file):
    found = mistakes(file(STUDY.replace("trials: 20", "trials: 0")), "optimizer.seed=x", "budget.a=1")
    assert [line.partition(" ")[0] for line in found] == ["s.yaml:11:", "command", "command"]


def test_a_draft_keeps_what_is_sound_of_a_broken_section(file):
    draft = draft_study(file(STUDY.replace("max: 1e-2", "max: 0").replace("trials: 20", "trails: 20")))
    assert len(draft.problems) == 2
    assert draft.repaired == {"search_space", "budget"}
    assert "budget" not in draft.sections
    kept = draft.sections["search_space"].space()
    assert sorted(p.name for p in kept) == ["clip_range_vf", "learning_rate", "policy.net_arch", "vf_clip"]
    assert kept.parents == {"vf_clip"}
