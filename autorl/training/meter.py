"""What a run spends: wall time, processor time, and energy where the machine counts it."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Spent:
    """What a run spent so far.

    Attributes:
        wall_seconds: Wall time, evaluations included.
        cpu_seconds: Processor time of its process, and of those that it started and that have ended.
        energy_joules: Energy of processors and memory, or None where the machine does not tell.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    energy_joules: float | None = None


class Meter:
    """Counts what this process spends from now on, on top of what the run spent before."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        """Begin to count; ``powercap`` is where Linux keeps its energy counters."""
        self._before = Spent()
        self._wall, self._cpu = time.monotonic(), _cpu_seconds()
        self._energy = _Energy.found(powercap)

    def go_on(self, before: Spent) -> None:
        """Add what the run spent before it was interrupted."""
        self._before = before

    def spent(self) -> Spent:
        """Return what the run spent so far.

        The energy counters are the machine's: a run is charged the part of their growth that its process had of all
        processor time meanwhile. They turn over (after 262 kilojoules, on many machines), so this is to be called more
        often than that; once is enough between two evaluations.
        """
        cpu = _cpu_seconds()
        energy, before = self._before.energy_joules, self._before
        if self._energy is not None:
            energy = (energy or 0.0) + self._energy.share(cpu - self._cpu)
        return Spent(before.wall_seconds + time.monotonic() - self._wall, before.cpu_seconds + cpu - self._cpu, energy)


class _Energy:
    """Linux's powercap counters (Intel's RAPL, which AMD's processors have too): packages, and memory beside them."""

    def __init__(self, zones: dict[Path, int]) -> None:
        self._range = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        self._last = zones
        self._busy, self._own, self._joules = _busy_seconds(), 0.0, 0.0

    @classmethod
    def found(cls, powercap: Path) -> _Energy | None:
        """Return the counters, or None where there are none, or only the administrator may read them."""
        zones = [
            zone
            for zone in sorted(powercap.glob("intel-rapl:*"))
            if (zone / "name").is_file() and (zone / "name").read_text().startswith(("package", "dram"))
        ]
        try:
            return cls({zone: _read(zone) for zone in zones}) if zones else None
        except OSError:
            return None

    def share(self, own_seconds: float) -> float:
        """Return the joules of a process that has had so much processor time since this began."""
        busy, joules = _busy_seconds(), 0.0
        for zone, last in self._last.items():
            now = _read(zone)
            grown = now - last + (self._range[zone] if now < last else 0)
            joules += grown / 1e6
            self._last[zone] = now
        others = max(busy - self._busy, own_seconds - self._own, 1e-9)
        self._joules += joules * (own_seconds - self._own) / others
        self._busy, self._own = busy, own_seconds
        return self._joules


def _read(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _cpu_seconds() -> float:
    # Of children, those that have ended: programs that trained for it, and environments in processes of their own.
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
