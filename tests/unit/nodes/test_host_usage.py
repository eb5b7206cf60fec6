"""From counters to the use of a host: what wraps, vanishes or cannot be read."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import subprocess
import time

import psutil
import pytest

from hvd_imgcls.environment.host import GpuUsage, HostSampler, HostUsage, ProcessUsageClock
from hvd_imgcls.environment.host.control_group import memory_limit
from hvd_imgcls.environment.host.gpus import NvidiaGpus, find_gpus
from hvd_imgcls.environment.host.reading import HostReader, HostReading, usage_between
from hvd_imgcls.environment.host.usage import MAX_GPUS, ROW_LENGTH, combine

FIRST = HostReading(
    time=100.0,
    busy_seconds=50.0,
    core_seconds=400.0,
    num_cores=4.0,
    load=1.5,
    memory_total_bytes=16e9,
    memory_used_bytes=4e9,
    memory_available_bytes=12e9,
    network={"eth0": (1000, 2000)},
    disks={"sda": (10_000, 0)},
)


def later(**changes):
    """The reading ten seconds later."""
    return dataclasses.replace(FIRST, time=110.0, core_seconds=440.0, busy_seconds=80.0, **changes)


def test_rates_are_increases_by_second():
    usage = usage_between(
        FIRST, later(network={"eth0": (6000, 2500)}, disks={"sda": (30_000, 50_000)})
    )
    assert usage.seconds == 10
    assert usage.cpu_share == 0.75
    assert (usage.network_in, usage.network_out) == (500, 50)
    assert (usage.disk_read, usage.disk_write) == (2000, 5000)
    assert (usage.load, usage.num_cores, usage.memory_used_bytes) == (1.5, 4, 4e9)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # Wrapped at 2^32, or reset: what was counted since is certain.
        ({"eth0": (400, 2000)}, (40, 0)),
        # Another device: what it has counted before it was seen does not count.
        ({"eth0": (1100, 2000), "eth1": (10**9, 10**9)}, (10, 0)),
        # Gone, as after `ip link delete`.
        ({}, (0, 0)),
        (None, None),
    ],
)
def test_counters_may_wrap_appear_and_vanish(network, expected):
    usage = usage_between(FIRST, later(network=network))
    if expected is None:
        assert math.isnan(usage.network_in)
        assert math.isnan(usage.network_out)
    else:
        assert (usage.network_in, usage.network_out) == expected


def test_a_device_that_comes_back_counts_from_then_on():
    readings = [FIRST, later(network={}), later(network={"eth0": (500, 500)})]
    readings[2] = dataclasses.replace(readings[2], time=120.0)
    readings.append(dataclasses.replace(readings[2], time=130.0, network={"eth0": (700, 500)}))
    pairs = itertools.pairwise(readings)
    assert [usage_between(*pair).network_in for pair in pairs] == [0, 0, 20]


@pytest.mark.parametrize(("busy", "core"), [(70.0, 400.0), (90.0, 399.0), (20.0, 410.0)])
def test_times_of_cores_that_go_back_give_no_share_outside_0_to_1(busy, core):
    share = usage_between(
        FIRST, dataclasses.replace(later(), busy_seconds=busy, core_seconds=core)
    ).cpu_share
    assert math.isnan(share) or 0 <= share <= 1


def test_no_time_is_no_use():
    assert usage_between(FIRST, FIRST).seconds == 0
    assert usage_between(later(), FIRST).seconds == 0
    nothing = combine([])
    assert nothing.seconds == 0
    assert math.isnan(nothing.load)


def test_times_are_combined_by_their_length_and_memory_by_its_extremes():
    gpus = (GpuUsage(share=0.5, memory_used_bytes=1e9, memory_total_bytes=8e9),)
    one = HostUsage(
        seconds=1.0, cpu_share=0.2, memory_used_bytes=3.0, memory_available_bytes=7.0, gpus=gpus
    )
    two = HostUsage(seconds=3.0, cpu_share=0.6, memory_used_bytes=2.0, memory_available_bytes=8.0)
    both = combine([one, two])
    assert both.seconds == 4
    assert both.cpu_share == pytest.approx(0.5)
    assert (both.memory_used_bytes, both.memory_available_bytes) == (3, 7)
    # Only one of the times knows the GPU.
    assert both.gpus == gpus
    assert math.isnan(both.load)
    # A time without samples changes nothing.
    assert repr(combine([both, HostUsage()])) == repr(both)


@pytest.mark.parametrize("num_gpus", [0, 1, MAX_GPUS, MAX_GPUS + 3])
def test_a_row_is_the_use_again(num_gpus):
    usage = HostUsage(
        seconds=2.0, load=0.5, gpus=tuple(GpuUsage(share=n / 100) for n in range(num_gpus))
    )
    row = usage.to_row()
    assert len(row) == ROW_LENGTH
    again = HostUsage.from_row(row)
    assert repr(again) == repr(dataclasses.replace(usage, gpus=usage.gpus[:MAX_GPUS]))


def test_this_host_can_be_read():
    reader = HostReader()
    before = reader.read()
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        math.sqrt(2)
    usage = usage_between(before, reader.read())
    assert usage.seconds >= 0.3
    assert 0 < usage.cpu_share <= 1
    assert usage.num_cores == psutil.cpu_count()
    assert 0 < usage.memory_used_bytes < usage.memory_total_bytes
    assert 0 < usage.memory_available_bytes <= usage.memory_total_bytes
    assert min(usage.network_in, usage.network_out, usage.disk_read, usage.disk_write) >= 0


def test_only_hardware_counts_where_there_is_any(tmp_path):
    names = sorted(set(psutil.net_io_counters(pernic=True)))
    folder = tmp_path / "class" / "net" / "lo"
    # As if the loopback were the only interface of hardware.
    (folder / "device").mkdir(parents=True)
    assert "lo" in names
    assert set(HostReader(system=tmp_path).read().network) == {"lo"}
    shutil.rmtree(folder)
    # In a container no interface is: all but the loopback.
    assert set(HostReader(system=tmp_path).read().network) == set(names) - {"lo"}
    # Without /sys no disk is known.
    assert HostReader(system=tmp_path).read().disks == {}


class Unreadable(HostReader):
    def _network(self):
        raise PermissionError("/proc/net/dev")


def test_what_cannot_be_read_is_unknown_and_the_rest_is_read():
    reader = Unreadable()
    usage = usage_between(reader.read(), dataclasses.replace(reader.read(), time=math.inf))
    assert math.isnan(usage.network_in)
    assert usage.memory_total_bytes > 0


def write_group(folder, maximum, current, cache):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{maximum}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\nfile 3\n")


def test_the_control_group_that_is_full_first_limits_the_memory(tmp_path):
    process = tmp_path / "cgroup"
    process.write_text("1:name=systemd:/old\n0::/job/step\n")
    root = tmp_path / "fs"
    assert memory_limit(root, process) is None
    write_group(root / "job" / "step", "max", 10, 0)
    assert memory_limit(root, process) is None
    write_group(root / "job", 1000, 900, 300)
    assert memory_limit(root, process) == type(memory_limit(root, process))(1000, 600)
    write_group(root / "job" / "step", 500, 450, 0)
    assert (memory_limit(root, process).total, memory_limit(root, process).used) == (500, 450)
    # A path that leads out, and a file that is no number.
    process.write_text("0::/../../etc\n")
    assert memory_limit(root, process) is None
    (root / "memory.max").write_text("much\n")
    assert memory_limit(root, process) is None


NVML = """
#include <string.h>
typedef struct { unsigned gpu, memory; } use_t;
typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlInit_v2(void) { return INIT; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  *handle = (void *)(0x7f0000000001ULL + index); return 0; }
static unsigned long long number(void *handle) {
  return (unsigned long long)handle - 0x7f0000000001ULL; }
int nvmlDeviceGetUtilizationRates(void *handle, use_t *use) {
  if (number(handle) == 2) return 3;  /* not supported, as with MIG */
  use->gpu = 90 + number(handle); use->memory = 5; return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
  memory->total = 80000000000ULL; memory->free = 79000000000ULL; memory->used = 1000000000ULL;
  return 0; }
"""


def library(folder, init):
    """A library with the functions and structures of nvml.h that are used."""
    (folder / "nvml.c").write_text(NVML.replace("INIT", str(init)))
    path = folder / f"libnvml-{init}.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(path), str(folder / "nvml.c")]
    subprocess.run(command, check=True)
    return str(path)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_gpus_are_read_by_the_structures_of_nvml(tmp_path):
    first, second, third = NvidiaGpus(library(tmp_path, 0)).read()
    assert (first.share, second.share) == (0.90, 0.91)
    assert math.isnan(third.share)
    assert {gpu.memory_used_bytes for gpu in (first, second, third)} == {1e9}
    assert {gpu.memory_total_bytes for gpu in (first, second, third)} == {80e9}
    # The driver is not loaded.
    with pytest.raises(OSError, match="NVML returned error 9"):
        NvidiaGpus(library(tmp_path, 9))


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU")
def test_without_a_driver_there_are_no_gpus():
    assert find_gpus() is None


def test_the_sampler_covers_the_time_between_two_takes():
    sampler = HostSampler(seconds=0.02)
    assert sampler.take().seconds == 0
    began = time.monotonic()
    with sampler.running():
        seconds = 0.0
        while seconds < 0.3:
            assert time.monotonic() - began < 20
            time.sleep(0.05)
            seconds += sampler.take().seconds
        assert seconds <= time.monotonic() - began
    time.sleep(0.1)
    sampler.take()
    time.sleep(0.1)
    # It has ended with its context.
    assert sampler.take().seconds == 0


class Stuck(HostReader):
    def read(self):
        time.sleep(60)


def test_nobody_waits_for_a_driver_that_does_not_answer():
    sampler = HostSampler(Stuck(), seconds=0.01)
    began = time.monotonic()
    with sampler.running():
        time.sleep(0.05)
        assert sampler.take().seconds == 0
    assert time.monotonic() - began < 5


def test_use_of_this_process():
    clock = ProcessUsageClock()
    deadline = time.process_time() + 0.1
    while time.process_time() < deadline:
        pass
    usage = clock.take()
    assert 0.1 <= usage.cpu_seconds <= usage.seconds * psutil.cpu_count() + 0.1
    assert usage.memory_bytes > 2**20
    assert clock.take().cpu_seconds < 0.1


def test_memory_of_a_process_that_has_ended_is_unknown():
    clock = ProcessUsageClock()
    process = subprocess.Popen(["sleep", "60"])
    clock._process = psutil.Process(process.pid)
    process.kill()
    process.wait()
    assert math.isnan(clock.take().memory_bytes)
