"""What is known of the processor: its name, and how much of it a container may use."""

from __future__ import annotations

import platform
from pathlib import Path


def processor_name(path: Path = Path("/proc/cpuinfo")) -> str:
    """Returns the processor's model, or its architecture if the system does not say."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cpu_quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Returns how many cores the control group may use, e.g. 2.5; None if there is no limit."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None
