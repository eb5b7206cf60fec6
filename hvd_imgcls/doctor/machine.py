"""Checks of the machine: cores, network, disk, shared memory."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psutil

from hvd_imgcls.doctor.check import Check, fail, ok, warning
from hvd_imgcls.environment.processor import cpu_quota
from hvd_imgcls.horovod_build.wheel import cache_dir

# A run or a build needs about this much. A checkpoint of our largest model with its optimizer
# takes 0.5 GB, the build of Horovod 0.6 GB.
_FAIL_BELOW_BYTES = 1e9
_WARN_BELOW_BYTES = 5e9

# Docker's default for a container, which is not enough for Open MPI's shared memory.
_SMALL_SHARED_MEMORY_BYTES = 64 * 2**20


def check_cores() -> Check:
    """Reports the number of cores, and the threads per rank for some numbers of ranks."""
    num_cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    detail = f"{num_cores} usable"
    if quota is not None and quota < num_cores:
        detail += f", limited to {quota:.1f} by the container"
        num_cores = max(1, int(quota))
    counts = [count for count in (1, 2, 4, 8, 16) if count <= num_cores]
    threads = ", ".join(f"{count}: {num_cores // count}" for count in counts)
    detail += f"; local ranks and threads per rank: {threads}"
    if num_cores < 2:
        return warning("cores", detail, "expect 2 ranks to take twice as long as 1")
    return ok("cores", detail)


def check_interfaces() -> Check:
    """Lists the network interfaces that are up, with their IPv4 addresses."""
    found = [f"{name} {address}" for name, address in ipv4_addresses()]
    if not found:
        fix = "enable one (ip link set lo up): even local ranks communicate over the network"
        return fail("network", "no interface that is up has an IPv4 address", fix)
    return ok("network", ", ".join(found))


def check_disk() -> list[Check]:
    """Checks the free space where runs and Horovod's wheels are written."""
    return [
        check_free_space("disk of this directory", Path.cwd()),
        check_free_space("disk of the cache", cache_dir()),
    ]


def check_free_space(name: str, path: Path) -> Check:
    """Checks the free space on the file system of a path, which may not exist yet."""
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    detail = f"{free / 1e9:.1f} GB free in {path}"
    if free < _FAIL_BELOW_BYTES:
        return fail(name, detail, "free some space")
    if free < _WARN_BELOW_BYTES:
        return warning(name, detail, "free some space before a long run")
    if not os.access(path, os.W_OK):
        return fail(name, f"{path} is not writable", "change its owner or use another directory")
    return ok(name, detail)


def check_shared_memory(path: Path = Path("/dev/shm")) -> Check:
    """Checks the size of the shared memory, which MPI and TensorFlow's workers use."""
    name = "shared memory"
    if not path.exists():
        return warning(name, f"{path} does not exist", "mount a tmpfs there")
    total = shutil.disk_usage(path).total
    detail = f"{total / 1e6:.0f} MB in {path}"
    if total <= _SMALL_SHARED_MEMORY_BYTES:
        return warning(name, detail, "give the container more of it, e.g. docker run --shm-size=1g")
    return ok(name, detail)


def ipv4_addresses() -> list[tuple[str, str]]:
    """Returns interface and IPv4 address of all interfaces that are up."""
    states = psutil.net_if_stats()
    return [
        (name, entry.address)
        for name, entries in sorted(psutil.net_if_addrs().items())
        for entry in entries
        if entry.family == socket.AF_INET and name in states and states[name].isup
    ]
