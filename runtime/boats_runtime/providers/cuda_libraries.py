"""The CUDA libraries that ONNX Runtime needs, and those that this machine has.

ONNX Runtime's GPU wheel is built for one major version of CUDA and loads the libraries by name;
cuDNN and cuFFT only when the first operator needs them (microsoft/onnxruntime#29252).
"""

import contextlib
import ctypes
import io
import platform
from dataclasses import dataclass
from typing import Any

from boats_runtime.installation import install_command

CUFFT_OF_CUDA = {12: 11, 13: 12}
"""Major versions of cuFFT by that of CUDA:
https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/."""


@dataclass(frozen=True)
class Library:
    """A shared library that CUDA needs.

    Attributes:
        name: File name that the loader searches for.
        found: Whether it can be loaded.
        version: Version that the library reports; empty if unknown.
    """

    name: str
    found: bool
    version: str = ""


def get_cuda_version(runtime: Any) -> str:
    """Return the CUDA version that ONNX Runtime was built for, like `13.0`; empty if none."""
    info = getattr(runtime.capi, "build_and_package_info", None)
    return str(getattr(info, "cuda_version", "") or "")


def preload(runtime: Any) -> None:
    """Load CUDA and cuDNN from NVIDIA's wheels if those are installed."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what `find_libraries` returns
        runtime.preload_dlls()


def find_libraries(runtime: Any) -> list[Library]:
    """Search for the libraries that this ONNX Runtime loads for CUDA; empty if it has no CUDA."""
    cuda = get_cuda_version(runtime)
    if not cuda or platform.system() != "Linux":
        return []
    preload(runtime)
    major = int(cuda.partition(".")[0])
    names = [
        "libcuda.so.1",
        f"libcudart.so.{major}",
        f"libcublasLt.so.{major}",
        f"libcublas.so.{major}",
        "libcurand.so.10",
        f"libcufft.so.{CUFFT_OF_CUDA.get(major, major - 1)}",
        "libcudnn.so.9",
    ]
    return [_find_library(name) for name in names]


def describe_missing(runtime: Any) -> str:
    """Return a sentence that lists the missing libraries and the fix; empty if none is missing."""
    libraries = find_libraries(runtime)
    missing = [library.name for library in libraries if not library.found]
    if not missing:
        return ""
    found = [f"{library.name} {library.version}".strip() for library in libraries if library.found]
    fix = (
        "install NVIDIA's driver"
        if missing == ["libcuda.so.1"]
        else f"{install_command('gpu')} brings all but the driver (libcuda)"
    )
    return (
        f"onnxruntime {runtime.__version__} expects CUDA {get_cuda_version(runtime)} and cuDNN 9; "
        f"not found: {', '.join(missing)}; found: {', '.join(found) or 'none of its libraries'}; "
        f"{fix}"
    )


def _find_library(name: str) -> Library:
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return Library(name, found=False)
    return Library(name, found=True, version=_read_version(name, library))


def _read_version(name: str, library: ctypes.CDLL) -> str:
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
