"""What CUDA needs and what of it this machine has, to say it when a session does not open.

ONNX Runtime's wheel for GPUs is built for one major version of CUDA and loads its libraries by
name; cuDNN and cuFFT only when the first operator asks for them (microsoft/onnxruntime#29252).
"""

import contextlib
import ctypes
import io
import platform
from dataclasses import dataclass
from typing import Any

CUFFT_OF_CUDA = {12: 11, 13: 12}
"""cuFFT counts by itself: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/."""


@dataclass(frozen=True)
class Library:
    """A shared library that CUDA needs.

    Attributes:
        name: What the loader looks for.
        found: Whether it can be loaded.
        version: Its own, as far as it tells one; else empty.
    """

    name: str
    found: bool
    version: str = ""


def expected_cuda(runtime: Any) -> str:
    """Returns the CUDA that an ONNX Runtime was built for, like `13.0`; empty if for none."""
    info = getattr(runtime.capi, "build_and_package_info", None)
    return str(getattr(info, "cuda_version", "") or "")


def preload(runtime: Any) -> None:
    """Loads CUDA and cuDNN from NVIDIA's own wheels, where those are installed."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what `find_libraries` tells better
        runtime.preload_dlls()


def find_libraries(runtime: Any) -> list[Library]:
    """Looks for the libraries that an ONNX Runtime with CUDA loads; none for one without."""
    built_for = expected_cuda(runtime)
    if not built_for or platform.system() != "Linux":
        return []
    preload(runtime)
    major = int(built_for.partition(".")[0])
    names = [
        "libcuda.so.1",
        f"libcudart.so.{major}",
        f"libcublasLt.so.{major}",
        f"libcublas.so.{major}",
        "libcurand.so.10",
        f"libcufft.so.{CUFFT_OF_CUDA.get(major, major - 1)}",
        "libcudnn.so.9",
    ]
    return [_look_for(name) for name in names]


def describe_missing(runtime: Any) -> str:
    """Says in one sentence what CUDA lacks here, and what brings it; empty if it lacks nothing."""
    built_for = expected_cuda(runtime)
    libraries = find_libraries(runtime)
    missing = [library.name for library in libraries if not library.found]
    if not missing:
        return ""
    known = [f"{one.name} {one.version}".strip() for one in libraries if one.found]
    line = (
        "install NVIDIA's driver"
        if missing == ["libcuda.so.1"]
        else "pip install 'boats[gpu]' brings all but the driver (libcuda)"
    )
    return (
        f"onnxruntime {runtime.__version__} expects CUDA {built_for} and cuDNN 9; not found: "
        f"{', '.join(missing)}; found: {', '.join(known) or 'none of its libraries'}; {line}"
    )


def _look_for(name: str) -> Library:
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return Library(name, found=False)
    return Library(name, found=True, version=_version_of(name, library))


def _version_of(name: str, library: ctypes.CDLL) -> str:
    """Asks the libraries that tell their version."""
    number = ctypes.c_int()
    if name.startswith(("libcuda.", "libcudart.")):
        function = "cuDriverGetVersion" if name.startswith("libcuda.") else "cudaRuntimeGetVersion"
        failed = getattr(library, function)(ctypes.byref(number))
        return "" if failed else f"{number.value // 1000}.{number.value % 1000 // 10}"
    if name.startswith("libcudnn."):
        library.cudnnGetVersion.restype = ctypes.c_size_t
        version = int(library.cudnnGetVersion())
        return f"{version // 10000}.{version % 10000 // 100}.{version % 100}"
    return ""
