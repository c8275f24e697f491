"""The commands of the benchmarks' page run. They are made small: most trains for minutes even so, and is slow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from landscapes import configs, returns, write_landscape
from pages import BENCHMARKS, ROOT, block, blocks, lines, shell
from served import needs_browser

from autorl.spec.load import load_space

COMMANDS = [line for _, text in blocks("bash", BENCHMARKS) for line in lines(text) if "benchmarks/" in line]
SMALL = {
    "throughput": "--trials 2 --steps 1024 --repeats 1",
    "engines": "--only CartPole-v1/ppo --tools jax jax-host --lanes 2 --scale 0.01",
    "transfer": "--trials 2 --only CartPole-v1",
    "curves": "--env CartPole-v1 --steps 512 --points 1 --seeds 2",
    "optimizers": "--repeats 1 --only race tpe",
    "live": "--seeds 0",
    "language": "--steps 1 --turns 1",
    "curricula": "--steps 2048 --seeds 1 --pairs 0 --only riac",
    "calibration": "--draws 20",
    "make_ledger": "--trials 30",
    "dashboard_pages": "",
}
SMALLER: dict[str, dict[str, str]] = {  # what no option makes small: expressions, and what stands there instead
    "throughput": {r'"trials": 32, "seeds": 3': '"trials": 2, "seeds": 1', '"steps": 102_400': '"steps": 1_024'},
    "transfer": {r"50_000\)": "5_120)"},
    "live": {"RUNS = 24": "RUNS = 2", r"4 \* 4096\), Task.*$": "4096),)"},
}
QUICK = ("optimizers", "make_ledger", "curricula")


def name_of(command: str) -> str:
    return re.findall(r"benchmarks/(\w+)\.py", command)[0]


def marked(command: str) -> Any:
    name = name_of(command)
    marks = [] if name in QUICK else [pytest.mark.slow]
    if name == "dashboard_pages":
        marks += [needs_browser, pytest.mark.xdist_group(name="browser")]
    return pytest.param(command, marks=marks, id=f"{name}-{COMMANDS.index(command)}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a clone with its environment, with smaller benchmarks, and with a folder of tables."""
    for entry in ROOT.iterdir():
        if entry.name not in ("benchmarks", ".venv", ".git"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "benchmarks").mkdir()
    for file in (ROOT / "benchmarks").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        for written, smaller in SMALLER.get(file.stem, {}).items():
            text, times = re.subn(written, smaller, text, flags=re.MULTILINE)
            assert times == 1, (file, written)
        (tmp_path / "benchmarks" / file.name).write_text(text, encoding="utf-8")
    (tmp_path / "FOLDER").mkdir()
    table = {"returns": np.tile(returns(), (4, 2, 1)), "configs": np.array(json.dumps(configs() * 4))}
    np.savez(tmp_path / "FOLDER" / "table.npz", **table)
    return tmp_path


def smaller(command: str) -> str:
    return f"{command.split('#')[0]} {SMALL[name_of(command)]}"


@pytest.mark.parametrize("command", [marked(command) for command in COMMANDS])
def test_a_benchmark_runs_as_its_page_says(command: str, folder: Path) -> None:
    if name_of(command) == "dashboard_pages":  # of the database that the line before it makes
        shell(smaller(COMMANDS[COMMANDS.index(command) - 1]), folder)
    assert shell(smaller(command), folder).strip() or (folder / "large.db").exists()


@pytest.mark.slow
def test_other_tools_are_measured_once_they_are_installed_as_the_page_says(folder: Path) -> None:
    install, command = lines(block("bash", BENCHMARKS, "pip install"))[:2]
    (folder / ".venv").unlink()
    shell(f"{sys.executable} -m venv .venv", folder)
    (above,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    # It is an environment over that of the tests, which would keep what is installed here.
    (above / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    shell(f"source .venv/bin/activate; {install}", folder)
    told = shell(f"{command.split('#')[0]} --only CartPole-v1/ppo --tools sbx rejax --scale 0.01", folder)
    assert all(name in told for name in ("SBX", "rejax")), told


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_benchmark_has_the_options_that_its_page_names(command: str) -> None:
    script = f"benchmarks/{name_of(command)}.py"
    said = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {*re.findall(r"--\w+", command)} <= {*re.findall(r"--\w+", said.stdout)}


def test_a_space_is_made_of_a_table_as_the_page_says(folder: Path) -> None:
    write_landscape(folder / "table.npz")
    shell(block("bash", BENCHMARKS, "landscape_space"), folder)
    assert load_space(folder / "space.yaml")
