from pathlib import Path

import pytest

from boats_runtime.cpu import cpu_flags, has_dot_products

X86 = """processor\t: 0
model name\t: Some CPU with avx_vnni
flags\t\t: fpu avx512_vnni
bugs\t\t: spectre_v1
processor\t: 1
flags\t\t: fpu avx2
"""
ARM = """processor\t: 0
Features\t: fp asimddp
CPU implementer\t: 0x41
"""


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (X86, {"fpu", "avx512_vnni", "avx2"}),
        (ARM, {"fp", "asimddp"}),
        ("flags\t\t:\n", set()),
        ("processor\t: 0\n", set()),
        ("", set()),
    ],
)
def test_cpu_flags__of_every_core(cpuinfo: Path, text: str, flags: set[str]) -> None:
    cpuinfo.write_text(text)
    assert cpu_flags(cpuinfo) == flags


def test_cpu_flags__nobody_says(cpuinfo: Path) -> None:
    assert cpu_flags(cpuinfo) == frozenset()
    assert not has_dot_products(cpu_flags(cpuinfo))


@pytest.mark.parametrize(
    ("line", "exact"),
    [
        ("flags\t\t: fpu avx512_vnni", True),
        ("flags\t\t: fpu avx_vnni", True),
        ("flags\t\t: amx_int8 fpu", True),
        ("Features\t: fp asimddp", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("Features\t: fp asimd", False),
        ("model name\t: avx512_vnni", False),
    ],
)
def test_has_dot_products__as_the_cpu_says(cpuinfo: Path, line: str, exact: bool) -> None:
    cpuinfo.write_text(f"{line}\n")
    assert has_dot_products(cpu_flags(cpuinfo)) is exact
