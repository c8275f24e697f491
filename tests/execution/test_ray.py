"""Ray keeps the promises of every executor, says what happened wherever it happened, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import databases
import psutil
import pytest
from conformance.executors import LONG, RECIPE, ExecutorConformance, order, study, until, until_ended
from pages import ROOT, block
from small_study import ignore, load, write

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.engine.progress import Progress
from autorl.errors import AutorlError
from autorl.execution.protocol import Alive, Ended, Executor
from autorl.execution.ray_cluster import RayExecutor
from autorl.ledger.reader import Reader
from autorl.spec.load import draft_study
from autorl.spec.study import StudySpec
from autorl.trial import Recipe

from ray.cluster_utils import Cluster  # isort: skip

pytestmark = [
    pytest.mark.xdist_group("ray"),
    # Ray leaves its pipes and its log files to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TESTS = str(Path(__file__).parents[1])
STUDY = ("budget={trials: 3, steps_per_run: 128}", "seeds={tuning: 0:2, test: 20:21}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with a CPU each, and what they say is a GPU, which stay while the tests' engines come and go."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1, num_gpus=1)
    yield made
    made.shutdown()


@pytest.mark.slow
class TestRay(ExecutorConformance):
    """One executor for all of them, since each new engine waits for Ray workers and their fork servers."""

    @pytest.fixture(scope="class")
    def executor(self, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
        made = joined(cluster, 3, limits={"progress_seconds": 5})
        try:
            folder = tmp_path_factory.mktemp("warm")
            for seed in range(2):
                made.submit(order(folder, seed))
            until_ended(made, 2)
            yield made
        finally:
            made.close()

    def test_a_killed_worker_and_a_hang_are_told_apart(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path, 0, broken("die")))
        executor.submit(order(tmp_path, 1, broken("hang")))
        events = until(executor, Ended)
        start = time.monotonic()
        events += executor.poll(0.2)
        assert time.monotonic() - start < 1.0, "it waited for the run that hangs"
        events += until_ended(executor, 1)
        ended = {event.run.seed: event for event in events if isinstance(event, Ended)}
        assert (ended[0].cause, ended[0].detail) == ("crash", "the worker was killed by SIGKILL")
        assert (ended[1].cause, ended[1].detail[:20]) == ("hang", "no progress for 5 s ")

    def test_a_supervisor_that_dies_on_a_living_node_is_a_crash(
        self, executor: Executor, cluster: Cluster, tmp_path: Path
    ) -> None:
        executor.submit(order(tmp_path, 0, LONG))
        until(executor, Alive)
        below = training(cluster)
        for node in nodes(cluster):
            for process in supervisors(node):
                process.kill()
        (ended,) = [event for event in until_ended(executor, 1) if isinstance(event, Ended)]
        assert ended.cause == "crash"
        wait_for_the_end_of(below)

    def test_a_folder_that_the_node_does_not_see_is_named(self, executor: Executor, tmp_path: Path) -> None:
        for seed in range(2):  # they take both CPUs, so that the third waits
            executor.submit(order(tmp_path, seed))
        asked = order(tmp_path, 2)
        executor.submit(asked)
        asked.folder.rmdir()
        (ended,) = [e for e in until_ended(executor, 3) if isinstance(e, Ended) and e.run == asked.run]
        assert ended.cause == "exception"
        assert f"{asked.folder} is not there" in ended.detail

    def test_draining_withdraws_what_has_not_started(self, executor: Executor, tmp_path: Path) -> None:
        for seed in range(3):
            executor.submit(order(tmp_path, seed, LONG))
        until(executor, Alive)
        executor.drain()
        ended = [event for event in until_ended(executor, 3) if isinstance(event, Ended)]
        assert [event.cause for event in ended] == ["preempted"] * 3
        assert executor.free == 3
        assert not list(tmp_path.rglob("drain-*"))

    def test_a_flag_of_a_dead_engine_drains_nothing(self, executor: Executor, tmp_path: Path) -> None:
        (tmp_path / "0").mkdir()
        (tmp_path / "0" / "drain-0123456789abcdef").touch()
        executor.submit(order(tmp_path, 0))
        assert until_ended(executor, 1)[-1] == Ended(order(tmp_path, 0).run, "returned")

    def test_close_ends_the_runs_and_leaves_the_cluster(
        self, executor: Executor, cluster: Cluster, tmp_path: Path
    ) -> None:
        executor.submit(order(tmp_path, 0, LONG))
        until(executor, Alive)
        below = training(cluster)
        assert below
        executor.close()
        wait_for_the_end_of(below)
        assert all(node.is_running() for node in nodes(cluster))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the study comes to on `processes`."""
    spec = load(tmp_path_factory.mktemp("processes"), *STUDY, "execution.executor=processes")
    assert conduct(spec, ignore)
    return outcome(spec)


def test_a_study_comes_to_the_same_as_on_processes(
    cluster: Cluster, expected: dict[str, object], tmp_path: Path
) -> None:
    spec = load(tmp_path, *STUDY, "execution.executor=ray", f"execution.address={cluster.address}")
    assert conduct(spec, ignore)
    assert outcome(spec) == expected


def test_a_study_runs_as_the_page_about_operations_says(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)  # which `auto` looks at first
    write(tmp_path)
    file = tmp_path / "page.yaml"
    said = block("yaml", ROOT / "docs" / "operations.md", "executor: ray")
    file.write_text("include: small.yaml\n" + said.replace("/shared", f"{tmp_path}/shared"))
    spec = check(draft_study(file, (*STUDY, f"storage={databases.url('postgres', tmp_path)}")))
    assert (spec.execution.address, spec.execution.resources.gpu) == ("auto", 0.25)
    assert conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        assert {run.state for run in reader.runs(spec.study)} == {"completed"}


@pytest.mark.slow
def test_a_node_that_dies_costs_nothing_that_was_finished(
    cluster: Cluster, expected: dict[str, object], tmp_path: Path
) -> None:
    spec = load(tmp_path, *STUDY, "execution.executor=ray", f"execution.address={cluster.address}")
    done: dict[object, tuple[object, ...]] = {}

    def watch(progress: Progress) -> None:
        if progress.runs >= 3 and not done and supervisors(nodes(cluster)[1]):
            done.update(completed(spec))
            (second,) = cluster.worker_nodes
            cluster.remove_node(second, allow_graceful=False)

    assert conduct(spec, watch)
    cluster.add_node(num_cpus=1, num_gpus=1)
    assert len(done) >= 3
    assert {run: completed(spec)[run] for run in done} == done
    with Reader(spec.storage) as reader:
        assert all(run.tries == () for run in reader.runs(spec.study))
    assert outcome(spec) == expected


LOCAL = """\
import sys
from pathlib import Path
from conformance.executors import LONG, order, study
from autorl.execution.ray_cluster import RayExecutor
executor = RayExecutor(study(1, executor="ray"))
executor.submit(order(Path(sys.argv[1]), 0, LONG))
while not executor.poll(1.0):
    pass
print("training", flush=True)
sys.stdin.readline()
executor.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["close", "kill"])
def test_a_cluster_of_its_own_listens_to_nobody_else_and_ends_with_the_engine(how: str, tmp_path: Path) -> None:
    engine = subprocess.Popen(
        [sys.executable, "-c", LOCAL, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])},
    )
    assert engine.stdin is not None
    assert engine.stdout is not None
    assert engine.stdout.readline() == "training\n"
    own = psutil.Process(engine.pid)
    below = own.children(recursive=True)
    commands = [" ".join(process.cmdline()) for process in below]
    assert any("raylet" in command for command in commands)
    assert all("--disable-frontend" in command for command in commands if "dashboard.py" in command)
    listening = [c.laddr for p in [own, *below] for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {address.ip for address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    servers = [
        p for p, command in zip(below, commands, strict=True) if command.split()[0].endswith(("gcs_server", "raylet"))
    ]
    assert [process.environ()["RAY_AUTH_MODE"] for process in servers] == ["token"] * 2
    if how == "kill":
        engine.kill()
    else:
        engine.stdin.write("\n")
        engine.stdin.flush()
        assert engine.stdout.readline() == "closed\n"
    wait_for_the_end_of(below)
    (folder,) = {found[1] for command in commands if (found := re.search(r"raylet_socket_name=(.*?)/session", command))}
    assert not Path(folder).exists()
    engine.communicate("\n")


def test_what_cannot_be_is_said_at_once(cluster: Cluster) -> None:
    with pytest.raises(AutorlError, match=r"cannot join the Ray cluster at '127\.0\.0\.1:1'.*refused"):
        RayExecutor(study(1, executor="ray", address="127.0.0.1:1"))
    with pytest.raises(AutorlError, match="cannot join the Ray cluster at 'nowhere'"):
        RayExecutor(study(1, executor="ray", address="nowhere"))
    with pytest.raises(AutorlError, match=r"takes 2 CPU and 0 GPU, which no node .* \(they have 1 CPU and 1 GPU\)"):
        joined(cluster, 1, resources={"cpu": 2})
    with pytest.raises(AutorlError, match="takes 1 CPU and 2 GPU"):
        joined(cluster, 1, resources={"gpu": 2})


def test_help_does_not_import_ray() -> None:
    code = "import sys, autorl.cli.app; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def joined(cluster: Cluster, workers: int, **execution: object) -> RayExecutor:
    return RayExecutor(study(workers, executor="ray", address=cluster.address, **execution))


def broken(how: str) -> Recipe:
    env = {"env": "probe_envs:autorl-tests/Broken-v0", "env_kwargs": {"how": how}}
    return Recipe.from_dict({**RECIPE.to_dict(), **env})


def nodes(cluster: Cluster) -> list[psutil.Process]:
    """Return the process of each node, the head's first."""
    return [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in cluster.list_all_nodes()]


def supervisors(node: psutil.Process) -> list[psutil.Process]:
    return [process for process in node.children() if "ray::supervise" in " ".join(process.cmdline())]


def training(cluster: Cluster) -> list[psutil.Process]:
    """Return the processes below the supervisors: their fork servers, and what trains."""
    return [below for node in nodes(cluster) for own in supervisors(node) for below in own.children(recursive=True)]


def wait_for_the_end_of(processes: Iterable[psutil.Process]) -> None:
    """Wait ten seconds at most."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def outcome(spec: StudySpec) -> dict[str, object]:
    with Reader(spec.storage) as reader:
        study, trials, runs = reader.study(spec.study), reader.trials(spec.study), reader.runs(spec.study)
        proposals = reader.proposals(spec.study)
    return {
        "state": study.state,
        "winner": study.winner,
        "trials": [(t.number, json.dumps(dict(t.config.coordinates)), t.value) for t in trials],
        "proposals": proposals,
        "runs": [(r.run, r.state, r.score, r.env_steps) for r in runs],
    }


def completed(spec: StudySpec) -> dict[object, tuple[object, ...]]:
    with Reader(spec.storage) as reader:
        runs = [run for run in reader.runs(spec.study) if run.state == "completed"]
    return {run.run: (run.attempts, run.started_at, run.finished_at) for run in runs}
