"""Environment of a measurement: machine, libraries, commit, and load by other processes."""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from boats_runtime.cpu import cpu_features, cpu_flags, cpu_model, granted_cpus

SAMPLE_S = 0.5
"""Seconds for which the load is sampled before a measurement."""

MAX_BUSY_CORES = 0.25
"""CPU use by other processes above which a warning is given, in cores."""


class Environment:
    """Record of the environment; create it before the measurement, and read it afterwards."""

    def __init__(self) -> None:
        self._load_before = _read_load_average()
        busy_s = read_busy_seconds()
        time.sleep(SAMPLE_S)
        self._busy_cores_before = _count_cores(busy_s, read_busy_seconds(), SAMPLE_S)
        self._start = time.monotonic()
        self._busy_s, self._process_s = read_busy_seconds(), _read_process_seconds()

    def to_json(self) -> dict[str, Any]:
        """Return machine, libraries, commit, load and warnings as JSON values."""
        process_s = _read_process_seconds() - self._process_s
        busy_s = None if self._busy_s is None else self._busy_s + process_s
        elapsed_s = time.monotonic() - self._start
        busy_cores = _count_cores(busy_s, read_busy_seconds(), elapsed_s)
        return {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cpu": cpu_model(),
            "cpu_features": cpu_features(cpu_flags()),
            "cores_granted": granted_cpus(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "libraries": {package.name: package.version for package in metadata.distributions()},
            "commit": read_commit(Path(__file__).parent),
            "load_before": self._load_before,
            "load_after": _read_load_average(),
            "cores_of_others_before": self._busy_cores_before,
            "cores_of_others_meanwhile": busy_cores,
            "warnings": make_load_warnings(self._busy_cores_before, busy_cores),
        }


def make_load_warnings(before: float | None, during: float | None) -> list[str]:
    """Return a warning for each phase in which other processes used the CPU.

    Args:
        before: Cores used by other processes before the measurement; None if unknown.
        during: Cores used by other processes during it; None if unknown.
    """
    return [
        f"other processes used {cores:.1f} cores {phase} the measurement: repeat it when the "
        "machine is idle"
        for phase, cores in (("before", before), ("during", during))
        if cores is not None and cores > MAX_BUSY_CORES
    ]


def read_busy_seconds(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the CPU time of all processes on all cores since the system start, in seconds.

    It is the sum of user, nice, system, irq, softirq and steal
    (https://man7.org/linux/man-pages/man5/proc_stat.5.html). Steal is the time used by other
    virtual machines on the host. None if the system does not provide it.
    """
    try:
        columns = stat.read_text(encoding="ascii").splitlines()[0].split()[1:]
        ticks = sum(int(columns[index]) for index in (0, 1, 2, 5, 6, 7))
    except (OSError, IndexError, ValueError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK")


def read_commit(folder: Path) -> str | None:
    """Return the Git commit of a folder, with `-dirty` if Python files differ; None without Git."""
    try:
        head = _run_git(folder, "rev-parse", "--short=12", "HEAD")
        # Results that a benchmark has just written do not count.
        changes = _run_git(folder, "status", "--porcelain", "--", ":(top)*.py")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changes else head


def _read_process_seconds() -> float:
    """Return the CPU time of this process and of its finished child processes."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _count_cores(start_s: float | None, end_s: float | None, elapsed_s: float) -> float | None:
    return None if start_s is None or end_s is None else max(0.0, (end_s - start_s) / elapsed_s)


def _read_load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _run_git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()
