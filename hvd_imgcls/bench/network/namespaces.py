"""Hosts as namespaces of the kernel, held only by file descriptors of one process.

None of them has a name in /run/netns: when that process ends, all are gone.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.bench.network.counters import Sent, parse
from hvd_imgcls.bench.network.link import DEVICE, Link, address, host_name

# linux/sched.h, linux/if_tun.h and linux/mount.h.
_CLONE_NEWUTS, _CLONE_NEWNET = 0x04000000, 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_NO_IPV6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
_TRANSMIT_QUEUE_PACKETS = 5000

# Python has `os.unshare` and `os.setns` from 3.12 on.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A host, as open files of its namespaces.

    Attributes:
        tun: The TUN device: what its kernel sends can be read, what is written it receives.
        namespaces: Its network and UTS namespaces.
        statistics: Its `/proc/net/dev`.
    """

    tun: int
    namespaces: tuple[int, ...]
    statistics: int

    def enter(self) -> None:
        """Moves the calling process, which must have one thread, to this host."""
        for namespace in self.namespaces:
            _check(_libc.setns(namespace, 0), "setns")

    def sent(self) -> Sent:
        """Returns what its device has sent so far."""
        return parse(os.pread(self.statistics, 65536, 0).decode("ascii"))


def make_host(index: int, link: Link) -> Host:
    """Returns a new host with its device; the calling process is on it afterwards.

    Args:
        index: Its index, from 0.
        link: The link to the others.

    Raises:
        OSError: If the kernel refuses.
        subprocess.CalledProcessError: If `ip` or `tc` fails, with its output.
    """
    _check(_libc.unshare(_CLONE_NEWNET | _CLONE_NEWUTS), "unshare")
    socket.sethostname(host_name(index))
    if os.path.exists(_NO_IPV6):
        # The kernel would send router solicitations, which would be counted.
        Path(_NO_IPV6).write_text("1", encoding="ascii")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(tun, _TUNSETIFF, request)
    for command in set_up_commands(index, link):
        subprocess.run(
            command.split(), check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    return Host(
        tun=tun,
        namespaces=tuple(os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts")),
        statistics=os.open("/proc/self/net/dev", os.O_RDONLY),
    )


def set_up_commands(index: int, link: Link) -> list[str]:
    """Returns the commands that configure the devices of a host, to be run on it."""
    return [
        "ip link set lo up",
        f"ip address add {address(index)}/24 dev {DEVICE}",
        f"ip link set {DEVICE} mtu {link.mtu} txqueuelen {_TRANSMIT_QUEUE_PACKETS} up",
        f"tc qdisc replace dev {DEVICE} root tbf rate {int(link.rate_mbit * 1e6)}bit "
        f"burst {link.burst_bytes} limit {link.queue_bytes}",
    ]


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
