"""The image is built, and trains and shows studies as the Dockerfile and the page about operations say.

It takes minutes and gigabytes, a Docker daemon (or podman under its name), and an index of packages that containers
reach: what a network needs for that goes into $AUTORL_DOCKER_BUILD, as options of `docker build`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, block, shell
from served import answering, free_port

pytestmark = pytest.mark.slow
BUILD, STUDY, DASHBOARD = re.findall(r"^#   (docker .*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
SMALL = "budget.trials=2 budget.steps_per_run=2048 seeds.test=100:102"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the studies, once the image is built."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("needs a Docker daemon")
    shell(BUILD.replace("build", f"build {os.environ.get('AUTORL_DOCKER_BUILD', '')}"), ROOT)
    folder = tmp_path_factory.mktemp("data")
    for name in ("studies", "search_spaces"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture
def board(folder: Path) -> Iterator[int]:
    """Run the page's container, on a free port; yields that."""
    command, port = block("bash", ROOT / "docs" / "operations.md", "docker run"), free_port()
    shell(
        command.replace("127.0.0.1:8501", f"127.0.0.1:{port}"), folder, AUTORL_DASHBOARD_TOKEN="a-secret-of-some-length"
    )
    try:
        yield port
    finally:
        shell("docker rm --force board", folder)


def test_a_study_trains_in_the_container(folder: Path) -> None:
    # The second time it has nothing to do, and shows what it found.
    told, again = (re.findall("╭.*?╯", shell(f"{STUDY} {SMALL}", folder), re.DOTALL)[-1] for _ in range(2))
    assert "mean return on 2 test seeds, never used in tuning" in told
    assert again == told
    assert (folder / "autorl.db").exists()


def test_the_dashboard_of_the_page_answers_on_the_hosts_port(board: int, folder: Path) -> None:
    answering(f"http://127.0.0.1:{board}/_stcore/health")
    assert "0.0.0.0:8501" in shell("docker logs board 2>&1", folder)


def test_the_dashboard_of_the_file_answers_on_the_hosts_own_address(folder: Path) -> None:
    port = free_port()
    named = DASHBOARD.replace("docker run --rm", "docker run --rm --detach --name board")
    shell(f"{named} --port {port}", folder)
    try:
        answering(f"http://127.0.0.1:{port}/_stcore/health")
    finally:
        shell("docker rm --force board", folder)
