"""The use of a host: cores, memory, network, disks and GPUs."""

from hvd_imgcls.environment.host.process import ProcessUsage, ProcessUsageClock
from hvd_imgcls.environment.host.sampler import HostSampler
from hvd_imgcls.environment.host.usage import GpuUsage, HostUsage

__all__ = ["GpuUsage", "HostSampler", "HostUsage", "ProcessUsage", "ProcessUsageClock"]
