"""What a run spends is counted: time always, energy where the machine has counters that may be read."""

import time
from pathlib import Path

import psutil
import pytest

from autorl.training.meter import Meter, Spent


def zone(powercap: Path, key: str, name: str, microjoules: int) -> Path:
    """Make a counter as Linux shows it."""
    folder = powercap / key
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text("1000000\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder


def work(seconds: float) -> float:
    """Keep a processor busy, and return which share of the machine's processor time that was."""
    busy, end = busy_seconds(), time.process_time() + seconds
    while time.process_time() < end:
        pass
    return seconds / max(busy_seconds() - busy, seconds)


def busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def test_time_goes_on_from_what_was_spent_before(tmp_path: Path) -> None:
    meter = Meter(tmp_path)
    meter.go_on(Spent(100.0, 50.0))
    work(0.05)
    spent = meter.spent()
    assert 50.05 <= spent.cpu_seconds < 60
    assert 100.05 <= spent.wall_seconds < 160
    assert spent.energy_joules is None


def test_energy_is_the_share_of_processor_time(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 100)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 100)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 0)
    meter = Meter(tmp_path)
    share = work(0.3)
    (package / "energy_uj").write_text("400100\n")
    (memory / "energy_uj").write_text("100000\n")
    (core / "energy_uj").write_text("300000\n")  # a part of the package
    first = meter.spent().energy_joules
    assert first is not None
    assert first <= 0.5  # all of it on a quiet machine, a part beside other processes
    assert first == pytest.approx(0.5 * share, rel=0.25)  # the kernel counts in hundredths of a second
    assert meter.spent().energy_joules == first


def test_a_counter_may_turn_over(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = Meter(tmp_path)
    share = work(0.3)
    (package / "energy_uj").write_text("100000\n")
    spent = meter.spent().energy_joules
    assert spent is not None
    assert spent <= 0.2
    assert spent == pytest.approx(0.2 * share, rel=0.25)


def test_energy_goes_on_from_what_was_spent_before(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = Meter(tmp_path)
    meter.go_on(Spent(1.0, 1.0, 7.0))
    assert meter.spent().energy_joules == 7.0


def test_counters_that_may_not_be_read_are_no_counters(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    (folder / "energy_uj").unlink()
    assert Meter(tmp_path).spent().energy_joules is None


@pytest.mark.parametrize("machine", ["counts", "does not count"])
def test_what_was_known_before_is_kept(tmp_path: Path, machine: str) -> None:
    if machine == "counts":
        zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = Meter(tmp_path)
    meter.go_on(Spent(0.0, 0.0, 3.0))
    assert meter.spent().energy_joules == 3.0
