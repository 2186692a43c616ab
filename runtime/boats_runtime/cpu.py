"""What the CPU can do, and how much of it this process may have."""

import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Flags of instructions that multiply 8-bit values and add them up in 32 bits."""

FEATURES = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "i8mm", "sve")
"""How the flags begin that decide how fast float32, bfloat16 and 8-bit products are."""

CPUINFO = Path("/proc/cpuinfo")


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """Returns the CPU's name, as Linux has it or else Python."""
    names = [line.partition(":")[2] for line in _lines(cpuinfo) if line.startswith("model n")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def cpu_features(flags: frozenset[str]) -> list[str]:
    """Returns the flags that begin as `FEATURES`, sorted."""
    return sorted(flag for flag in flags if flag.startswith(FEATURES))


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Returns what Linux says of the CPU, like `avx512_vnni`; nothing where nobody says."""
    return parse_flags(_lines(cpuinfo))


def parse_flags(cpuinfo: Iterable[str]) -> frozenset[str]:
    """Returns the flags in the lines of /proc/cpuinfo, of x86 (`flags`) or ARM (`Features`)."""
    told = [line for line in cpuinfo if line.startswith(("flags", "Features"))]
    return frozenset(flag for line in told for flag in line.partition(":")[2].split())


def has_dot_products(flags: frozenset[str]) -> bool:
    """Says whether sums of 8-bit products are exact; else they saturate at 16 bits on x86."""
    return bool(flags & _DOT_PRODUCTS)


def has_bf16(flags: frozenset[str]) -> bool:
    """Says whether products of bfloat16 are done in hardware."""
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16", "svebf16"})


def saturates(flags: frozenset[str], machine: str) -> bool:
    """Says whether full-range 8-bit weights give other sums here than where they are exact.

    Args:
        flags: Of `cpu_flags`; nothing is said of a CPU of which nothing is known.
        machine: As `platform.machine()` has it: it is a matter of x86 alone.
    """
    return bool(flags) and machine in ("x86_64", "AMD64") and not has_dot_products(flags)


def granted_cpus() -> int:
    """Counts the CPUs this process may keep busy: its CPU set, and what control groups leave of it.

    ONNX Runtime itself looks at neither (microsoft/onnxruntime#8313, #10166): threads beyond the
    quota only wait for each other.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, int(quota)))


def cpu_quota(
    groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """Returns how many CPUs' time the control groups grant, the tightest of them; None for any.

    Args:
        groups: Names the groups of this process, a line for each hierarchy.
        mount: Where they are.
    """
    quotas = [quota for folder in _folders(groups, mount) if (quota := _quota(folder))]
    return min(quotas, default=None)


def _folders(groups: Path, mount: Path) -> Iterator[Path]:
    """Yields the folders of the process's group and of those around it (cgroups(7))."""
    for line in _lines(groups):
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = mount / controllers if controllers else mount
        folder = top / name.lstrip("/")
        while True:
            yield folder
            if folder in (top, folder.parent):
                break
            folder = folder.parent


def _quota(folder: Path) -> float | None:
    """Reads `cpu.max` of version 2, or the two files of version 1."""
    told = " ".join(_lines(folder / "cpu.max")).split()
    if not told:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        told = [word for name in names for word in _lines(folder / name)]
    if len(told) != 2 or not all(word.isdecimal() and int(word) for word in told):
        return None  # `max`, -1, or nothing there
    return int(told[0]) / int(told[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
