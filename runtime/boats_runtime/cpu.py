"""What the CPU can do that decides how a model is best made for it."""

from pathlib import Path

_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Flags of instructions that multiply 8-bit values and add them up in 32 bits."""


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Returns what Linux says of the CPU, like `avx512_vnni`; nothing where nobody says."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    told = [line for line in lines if line.startswith(("flags", "Features"))]
    return frozenset(flag for line in told for flag in line.partition(":")[2].split())


def has_dot_products(flags: frozenset[str]) -> bool:
    """Says whether sums of 8-bit products are exact; else they saturate at 16 bits on x86."""
    return bool(flags & _DOT_PRODUCTS)
