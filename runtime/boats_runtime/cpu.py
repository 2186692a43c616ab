"""Features of the CPU, and the number of CPUs available to this process."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Flags of instructions that multiply 8-bit values and sum the products in 32 bits."""

FEATURES = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "i8mm", "sve")
"""Prefixes of the flags that determine the speed of float32, bfloat16 and 8-bit products."""

CPUINFO = Path("/proc/cpuinfo")


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """Return the name of the CPU from Linux, or else from Python."""
    names = [line.partition(":")[2] for line in _read_lines(cpuinfo) if line.startswith("model n")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def cpu_features(flags: frozenset[str]) -> list[str]:
    """Return the flags that begin with one of `FEATURES`, sorted."""
    return sorted(flag for flag in flags if flag.startswith(FEATURES))


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Return the flags of the CPU, like `avx512_vnni`; empty if the system does not list them."""
    lines = [line for line in _read_lines(cpuinfo) if line.startswith(("flags", "Features"))]
    return frozenset(flag for line in lines for flag in line.partition(":")[2].split())


def has_dot_products(flags: frozenset[str]) -> bool:
    """Return whether sums of 8-bit products are exact; on other x86 CPUs they can saturate."""
    return bool(flags & _DOT_PRODUCTS)


def has_bf16(flags: frozenset[str]) -> bool:
    """Return whether the CPU multiplies bfloat16 in hardware."""
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16", "svebf16"})


def saturates(flags: frozenset[str], machine: str) -> bool:
    """Return whether sums of full-range 8-bit products can saturate; False if the CPU is unknown.

    Args:
        flags: Result of `cpu_flags`.
        machine: Result of `platform.machine()`; only x86 saturates.
    """
    return bool(flags) and machine in ("x86_64", "AMD64") and not has_dot_products(flags)


def granted_cpus() -> int:
    """Return the number of CPUs available to this process by its affinity and control groups.

    ONNX Runtime considers neither (microsoft/onnxruntime#8313, #10166). More threads than the quota
    allows only wait for each other.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, int(quota)))


def cpu_quota(
    groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """Return the smallest CPU quota of the control groups, in CPUs; None without a limit.

    Args:
        groups: File that lists the groups of this process, one line for each hierarchy.
        mount: Folder of the control groups.
    """
    quotas = [quota for folder in _list_folders(groups, mount) if (quota := _read_quota(folder))]
    return min(quotas, default=None)


def _list_folders(groups: Path, mount: Path) -> Iterator[Path]:
    """Yield the folders of the process's groups and of their ancestors (cgroups(7))."""
    for line in _read_lines(groups):
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


def _read_quota(folder: Path) -> float | None:
    """Return the quota in `cpu.max` (version 2) or in the two files of version 1."""
    words = " ".join(_read_lines(folder / "cpu.max")).split()
    if not words:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for name in names for word in _read_lines(folder / name)]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return None  # no limit: `max`, -1, or no file
    return int(words[0]) / int(words[1])


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
