"""Addresses of this host, and by which of them other hosts reach it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

import psutil

from hvd_imgcls.errors import ConfigError

LOOPBACK = "127.0.0.1"
# Nothing is sent: the system only chooses a route.
_ANY_PORT = 9


def is_local(name: str) -> bool:
    """Returns whether a host name is this host; a name that does not resolve is not."""
    if name in ("localhost", LOOPBACK, socket.gethostname()):
        return True
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return False
    return address.startswith("127.") or address in _addresses()


def launcher_address(other_hosts: Sequence[str], interfaces: Sequence[str]) -> str:
    """Returns the address of this host on which the ranks of a job find each other.

    Args:
        other_hosts: Names of the hosts besides this one; without any it is the loopback address.
        interfaces: Interfaces that the user has named, the first that exists here is taken.

    Raises:
        ConfigError: If none of the interfaces exists here, or a host's name does not resolve.
    """
    if interfaces:
        return _address_of(interfaces)
    if not other_hosts:
        return LOOPBACK
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((other_hosts[0], _ANY_PORT))
        except OSError as error:
            raise ConfigError(
                "-H",
                got=other_hosts[0],
                expected="a host name that resolves to an address with a route to it",
                fix=f"check the name in /etc/hosts or DNS ({error})",
            ) from None
        address: str = probe.getsockname()[0]
        return address


def address_of_run(environment: Mapping[str, str]) -> str:
    """Returns the address of this host in the network of the run, as Horovod chooses it with Gloo.

    Args:
        environment: Variables of a rank.

    Returns:
        The address; "" if the launcher has not said which network it is, as under MPI.
    """
    named = environment.get("HOROVOD_GLOO_IFACE", "")
    if named:
        return _address_of(named.split(","))
    server = environment.get("HOROVOD_GLOO_RENDEZVOUS_ADDR", "")
    if not server:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((server, _ANY_PORT))
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
        return address


def _addresses() -> set[str]:
    return {
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    }


def _address_of(interfaces: Sequence[str]) -> str:
    known = psutil.net_if_addrs()
    for interface in interfaces:
        for entry in known.get(interface, ()):
            if entry.family == socket.AF_INET:
                return entry.address
    raise ConfigError(
        "--network-interfaces",
        got=",".join(interfaces),
        expected=f"an interface of this host with an IPv4 address: {', '.join(sorted(known))}",
        fix="name one of them",
    )
