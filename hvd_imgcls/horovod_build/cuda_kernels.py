"""Compiles Horovod's CUDA kernels with NVRTC, into a C++ header.

`tensorflow[and-cuda]` brings no nvcc, but it brings NVRTC, the compiler for kernels at run
time. It is a library and needs neither a GPU nor a driver.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import SetupError

# One for each major version, since a binary also runs on GPUs of a higher minor version:
# Pascal, Volta and Turing, Ampere and Ada, Hopper, two of Blackwell.
_COMPUTE_CAPABILITIES = (60, 70, 80, 90, 100, 120)

_NAMESPACE = "horovod::common::"
_LAUNCH = re.compile(r'\bLaunch\(\s*"([^"]+)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelImage:
    """All kernels, compiled for one kind of GPU.

    Attributes:
        compute_capability: Ten times the version, e.g. 90 for 9.0.
        is_ptx: Whether it is PTX, which the driver compiles further, or a binary.
        code: The image.
        symbols: Kernel as the sources write it, e.g. `scale_buffer_k<float, float>`, to its
            symbol.
    """

    compute_capability: int
    is_ptx: bool
    code: bytes
    symbols: dict[str, str]


def kernels_in(source: str) -> list[str]:
    """Returns the kernels that a source file launches.

    >>> kernels_in('Launch("copy_k<8>", 1, 2, stream); Launch("copy_k<8>", 3, 4, stream);')
    ['copy_k<8>']
    """
    return list(dict.fromkeys(_LAUNCH.findall(source)))


def compile_kernels(
    nvrtc_path: Path, source_path: Path, include_dirs: Iterable[Path]
) -> list[KernelImage]:
    """Compiles the kernels of a source file for every kind of GPU that NVRTC supports.

    Args:
        nvrtc_path: `libnvrtc.so.12`.
        source_path: The file with the kernels.
        include_dirs: Where its headers are.

    Returns:
        The binaries, then PTX for the newest kind.

    Raises:
        SetupError: If NVRTC cannot be loaded or does not accept the source.
    """
    nvrtc = _Nvrtc(nvrtc_path)
    source = source_path.read_text(encoding="utf-8")
    options = ["--std=c++17", *(f"--include-path={path}" for path in include_dirs)]
    supported = nvrtc.supported_capabilities()
    chosen = [number for number in _COMPUTE_CAPABILITIES if number in supported]
    images = [nvrtc.compile(source, options, number, is_ptx=False) for number in chosen]
    return [*images, nvrtc.compile(source, options, chosen[-1], is_ptx=True)]


def as_header(images: Sequence[KernelImage]) -> str:
    """Returns the C++ header that holds the images: `kKernelImages` and `kKernelNames`."""
    lines = ["#include <map>", "#include <string>", ""]
    lines += ["struct KernelImage { int major; int minor; bool is_ptx; const void* data; };"]
    entries = []
    for image in images:
        name = f"k{'Ptx' if image.is_ptx else 'Binary'}{image.compute_capability}"
        # A driver wants binaries aligned, and PTX with a zero at its end.
        numbers = ",".join(str(byte) for byte in image.code)
        lines.append(f"alignas(16) static const unsigned char {name}[] = {{{numbers}}};")
        major, minor = divmod(image.compute_capability, 10)
        entries.append(f"{{{major}, {minor}, {str(image.is_ptx).lower()}, {name}}}")
    lines.append(f"static const KernelImage kKernelImages[] = {{{', '.join(entries)}}};")
    names = ", ".join(f'{{"{name}", "{symbol}"}}' for name, symbol in images[0].symbols.items())
    lines.append("static const std::map<std::string, const char*> kKernelNames = {")
    return "\n".join([*lines, f"    {names}}};", ""])


class _Nvrtc:
    """The functions of the library that are needed here."""

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise SetupError(
                f"NVRTC, which compiles Horovod's CUDA kernels, cannot be loaded: {error}",
                fix="python -m pip install --force-reinstall 'tensorflow[and-cuda]>=2.21,<2.22'",
            ) from error

    def supported_capabilities(self) -> list[int]:
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", numbers)
        return list(numbers)

    def compile(
        self, source: str, options: Sequence[str], capability: int, *, is_ptx: bool
    ) -> KernelImage:
        kind = "compute" if is_ptx else "sm"
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            source.encode(),
            b"cuda_kernels.cu",
            0,
            None,
            None,
        )
        try:
            kernels = kernels_in(source)
            for kernel in kernels:
                self._call("nvrtcAddNameExpression", program, (_NAMESPACE + kernel).encode())
            words = [f"--gpu-architecture={kind}_{capability}", *options]
            encoded = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
            if self._library.nvrtcCompileProgram(program, len(words), encoded) != 0:
                log = self._bytes(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")
                raise _refused(capability, log)
            symbols = {kernel: self._symbol(program, _NAMESPACE + kernel) for kernel in kernels}
            getter = "PTX" if is_ptx else "CUBIN"
            code = self._bytes(program, f"nvrtcGet{getter}Size", f"nvrtcGet{getter}")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))
        return KernelImage(compute_capability=capability, is_ptx=is_ptx, code=code, symbols=symbols)

    def _symbol(self, program: ctypes.c_void_p, expression: str) -> str:
        symbol = ctypes.c_char_p()
        self._call("nvrtcGetLoweredName", program, expression.encode(), ctypes.byref(symbol))
        return (symbol.value or b"").decode()

    def _bytes(self, program: ctypes.c_void_p, size_function: str, function: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(size_function, program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(function, program, buffer)
        return buffer.raw

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise SetupError(
                f"compiling Horovod's CUDA kernels failed: {function} returned {code}",
                fix="please report this with the versions that `pip list` shows",
            )


def _refused(capability: int, log: bytes) -> SetupError:
    text = log.decode(errors="replace").rstrip("\0")
    errors = [line for line in text.splitlines() if "error" in line][:5]
    listed = "\n".join(f"    {line}" for line in errors)
    return SetupError(
        f"NVRTC cannot compile Horovod's CUDA kernels for compute capability "
        f"{capability / 10}. The first errors:\n{listed}",
        fix="please report this with the versions that `pip list` shows",
    )
