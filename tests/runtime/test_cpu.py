import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from boats_runtime import cpu
from boats_runtime.cpu import (
    cpu_features,
    cpu_flags,
    cpu_model,
    cpu_quota,
    granted_cpus,
    has_bf16,
    has_dot_products,
    saturates,
)

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


def test_cpu_flags__missing_file(cpuinfo: Path) -> None:
    assert cpu_flags(cpuinfo) == frozenset()


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
def test_has_dot_products__by_the_flags(cpuinfo: Path, line: str, exact: bool) -> None:
    cpuinfo.write_text(f"{line}\n")
    assert has_dot_products(cpu_flags(cpuinfo)) is exact


@pytest.fixture
def affinity() -> Iterator[set[int]]:
    """The CPU affinity of this process, restored afterwards."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no CPU affinity")
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)


def test_granted_cpus__counts_the_affinity(
    affinity: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "cpu_quota", lambda: None)
    assert granted_cpus() == len(affinity)
    os.sched_setaffinity(0, {min(affinity)})
    assert granted_cpus() == 1


@pytest.mark.parametrize(("quota", "count"), [(0.2, 1), (1.0, 1), (1.9, 1), (1000.0, 0)])
def test_granted_cpus__limited_by_the_quota(
    affinity: set[int], monkeypatch: pytest.MonkeyPatch, quota: float, count: int
) -> None:
    monkeypatch.setattr(cpu, "cpu_quota", lambda: quota)
    assert granted_cpus() == (count or len(affinity))


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "cpu.max": "200000 100000"}, 0.5),
        ("0::/a\n", {"b/cpu.max": "50000 100000"}, None),
        ("0::/\n", {"cpu.max": "0 100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("", {"cpu.max": "150000 100000"}, None),
        (
            "4:memory:/x\n3:cpu:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "300000\n", "cpu/x/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        (
            "3:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
    ],
)  # fmt: skip
def test_cpu_quota__smallest_limit(
    tmp_path: Path, groups: str, files: dict[str, str], quota: float | None
) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path / "groups", tmp_path / "mount") == quota


def test_cpu_quota__no_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "groups", tmp_path) is None


@pytest.mark.parametrize(
    ("flags", "machine", "expected"),
    [
        ({"avx2"}, "x86_64", True),
        ({"avx2"}, "AMD64", True),
        ({"avx2", "avx_vnni"}, "x86_64", False),
        ({"asimd"}, "aarch64", False),
        (set(), "x86_64", False),
    ],
)
def test_saturates__on_x86_without_exact_sums(
    flags: set[str], machine: str, expected: bool
) -> None:
    assert saturates(frozenset(flags), machine) is expected


def test_cpu_model__reads_cpuinfo(cpuinfo: Path) -> None:
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 3 GHz\n")
    assert cpu_model(cpuinfo) == "Some CPU @ 3 GHz"


def test_cpu_model__missing_file(cpuinfo: Path) -> None:
    assert cpu_model(cpuinfo)


def test_cpu_features__sorted_selection() -> None:
    flags = frozenset({"fpu", "avx2", "avx512f", "avx512_bf16", "avx512_vnni", "sse"})
    assert cpu_features(flags) == ["avx2", "avx512_bf16", "avx512_vnni", "avx512f"]
    assert cpu_features(frozenset({"fp", "asimd", "crc32", "asimddp"})) == ["asimd", "asimddp"]
    assert cpu_features(frozenset()) == []


@pytest.mark.parametrize(
    ("flag", "has"), [("avx512_bf16", True), ("amx_bf16", True), ("bf16", True), ("avx2", False)]
)
def test_has_bf16__by_the_flags(flag: str, has: bool) -> None:
    assert has_bf16(frozenset({flag, "fpu"})) == has
