"""Reads the use of NVIDIA GPUs from the driver's library, if there is one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from hvd_imgcls.environment.host.usage import MAX_GPUS, UNKNOWN, GpuUsage

_LIBRARY = "libnvidia-ml.so.1"


class _Utilization(ctypes.Structure):
    """`nvmlUtilization_t` of nvml.h: percentages."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    """`nvmlMemory_t` of nvml.h: bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class NvidiaGpus:
    """The GPUs of this host, whichever of them this process may use.

    In the process itself rather than from `nvidia-smi`, which would be started every second.

    Args:
        library: The driver's library NVML.

    Raises:
        OSError: If it does not exist, or finds no driver.
    """

    def __init__(self, library: str = _LIBRARY) -> None:
        self._library = ctypes.CDLL(library)
        self._require(self._library.nvmlInit_v2())
        count = ctypes.c_uint()
        self._require(self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
        self._handles = []
        for index in range(min(count.value, MAX_GPUS)):
            handle = ctypes.c_void_p()
            self._require(
                self._library.nvmlDeviceGetHandleByIndex_v2(
                    ctypes.c_uint(index), ctypes.byref(handle)
                )
            )
            self._handles.append(handle)

    def read(self) -> tuple[GpuUsage, ...]:
        """Returns the use of every GPU. What one does not report, as with MIG, is unknown."""
        return tuple(self._read(handle) for handle in self._handles)

    def _read(self, handle: ctypes.c_void_p) -> GpuUsage:
        use, memory = _Utilization(), _Memory()
        knows_use = self._fill(self._library.nvmlDeviceGetUtilizationRates, handle, use)
        knows_memory = self._fill(self._library.nvmlDeviceGetMemoryInfo, handle, memory)
        return GpuUsage(
            share=use.gpu / 100 if knows_use else UNKNOWN,
            memory_used_bytes=float(memory.used) if knows_memory else UNKNOWN,
            memory_total_bytes=float(memory.total) if knows_memory else UNKNOWN,
        )

    @staticmethod
    def _fill(function: Callable[..., Any], handle: ctypes.c_void_p, result: Any) -> bool:
        return bool(function(handle, ctypes.byref(result)) == 0)

    @staticmethod
    def _require(code: int) -> None:
        if code != 0:
            raise OSError(f"NVML returned error {code}")


def find_gpus() -> NvidiaGpus | None:
    """Returns the NVIDIA GPUs of this host; None if there is no driver."""
    try:
        return NvidiaGpus()
    except (OSError, AttributeError):
        return None
