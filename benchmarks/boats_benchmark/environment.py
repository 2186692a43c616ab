"""What times depend on beside the code: machine, libraries, commit, and who else was busy."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from boats_runtime.cpu import cpu_features, cpu_flags, cpu_model, granted_cpus
from boats_runtime.files import write_atomic

STAT = Path("/proc/stat")

SAMPLE_S = 0.5
"""How long the machine is watched before a measurement."""

BUSY_CORES = 0.25
"""What others may use before times are to be doubted."""


class Environment:
    """A record of the machine: made before the measurement, asked after it."""

    def __init__(self) -> None:
        self._load_before = _load_average()
        busy = busy_seconds()
        time.sleep(SAMPLE_S)
        self._others_before = _cores(busy, busy_seconds(), SAMPLE_S)
        self._started = time.monotonic()
        self._busy, self._own = busy_seconds(), own_seconds()

    def to_json(self) -> dict[str, Any]:
        """Returns machine, libraries, commit, load and what to be wary of, as JSON values."""
        own = own_seconds() - self._own
        busy = None if self._busy is None else self._busy + own
        others = _cores(busy, busy_seconds(), time.monotonic() - self._started)
        return {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cpu": cpu_model(),
            "cpu_features": cpu_features(cpu_flags()),
            "cores_granted": granted_cpus(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "libraries": {found.name: found.version for found in metadata.distributions()},
            "commit": commit(Path(__file__).parent),
            "load_before": self._load_before,
            "load_after": _load_average(),
            "cores_of_others_before": self._others_before,
            "cores_of_others_meanwhile": others,
            "warnings": busy_warnings(self._others_before, others),
        }


def busy_warnings(before: float | None, meanwhile: float | None) -> list[str]:
    """Says whether others used the machine.

    Args:
        before: Cores that were busy before the measurement; None where the system tells none.
        meanwhile: Cores that were busy during it, without its own.
    """
    told = {"before": before, "meanwhile": meanwhile}
    return [
        f"others used {cores:.1f} cores {when}: these times are not to be trusted"
        for when, cores in told.items()
        if cores is not None and cores > BUSY_CORES
    ]


def busy_seconds(stat: Path = STAT) -> float | None:
    """Returns the time that all cores together have worked since the start; None if nobody says.

    https://man7.org/linux/man-pages/man5/proc_stat.5.html: user, nice, system, irq, softirq, and
    steal, which is what other virtual machines on the same host took.
    """
    try:
        columns = stat.read_text(encoding="ascii").splitlines()[0].split()[1:]
        ticks = sum(int(columns[index]) for index in (0, 1, 2, 5, 6, 7))
    except (OSError, IndexError, ValueError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Returns the CPU time of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def commit(folder: Path) -> str | None:
    """Returns the Git commit of a folder, `-dirty` if its Python files differ; None without one."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        # Results that a benchmark has just written don't count.
        changed = _git(folder, "status", "--porcelain", "--", ":(top)*.py")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def report(path: Path, results: Mapping[str, Any], circumstances: Environment) -> None:
    """Writes results and circumstances to a file, and what to be wary of to stderr."""
    record = circumstances.to_json()
    write_json(path, {**results, "circumstances": record})
    for warning in record["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file that is either whole or as it was; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(content, allow_nan=False) + "\n").encode())


def _cores(before: float | None, after: float | None, wall_s: float) -> float | None:
    return None if before is None or after is None else max(0.0, (after - before) / wall_s)


def _load_average() -> float | None:
    """Returns how many processes wanted a core over the last minute; None where nobody knows."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _git(folder: Path, *words: str) -> str:
    command = ["git", *words]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout.strip()
