"""The hosts of a job, and which ranks run on which of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import ConfigError

# A name or address that a shell and ssh take literally, and that is no option of ssh.
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_MAX_NAME_LENGTH = 253
_EXAMPLE = "for example host1:4,host2:4"


@dataclass(frozen=True, slots=True)
class Host:
    """A host and how many ranks it may run.

    Attributes:
        name: Name or IPv4 address.
        slots: Number of ranks, at least 1.
    """

    name: str
    slots: int


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a rank.

    Attributes:
        host: Name of its host.
        rank, size: Among all ranks.
        local_rank, local_size: Among the ranks of its host.
        cross_rank, cross_size: Among the ranks with the same local rank.
    """

    host: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int

    def environment(self) -> dict[str, str]:
        """Returns the variables by which Horovod finds the place."""
        return {
            "HOROVOD_HOSTNAME": self.host,
            "HOROVOD_RANK": str(self.rank),
            "HOROVOD_SIZE": str(self.size),
            "HOROVOD_LOCAL_RANK": str(self.local_rank),
            "HOROVOD_LOCAL_SIZE": str(self.local_size),
            "HOROVOD_CROSS_RANK": str(self.cross_rank),
            "HOROVOD_CROSS_SIZE": str(self.cross_size),
        }


def parse_hosts(text: str, option: str = "-H", default_slots: int | None = None) -> list[Host]:
    """Parses hosts separated by commas, each `name:slots`.

    Args:
        text: The hosts.
        option: Where they come from, for messages.
        default_slots: Slots of a host without a number; None requires one.

    Raises:
        ConfigError: If a name or a number is not valid, or a host is named twice.
    """
    hosts = [_host(part.strip(), option, default_slots) for part in text.split(",")]
    require_once(hosts, option)
    return hosts


def parse_hostfile(path: Path) -> list[Host]:
    """Reads a file with a host per line, `name slots=4` or `name:4`; # begins a comment.

    Raises:
        ConfigError: If the file cannot be read, has no host, or a line is not valid.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "--hostfile",
            got=str(path),
            expected="a readable text file",
            fix=f"check the path ({error})",
        ) from None
    hosts = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(" slots=", ":").split()
        if words:
            hosts.append(_host("".join(words), f"{path}, line {number}", 1))
    if not hosts:
        raise ConfigError(
            "--hostfile", got=str(path), expected="a host per line", fix="add lines `name slots=4`"
        )
    require_once(hosts, str(path))
    return hosts


def require_name(name: str, option: str) -> str:
    """Returns a host name if it is one.

    Raises:
        ConfigError: If it has characters that a shell or ssh could take for something else.
    """
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME_LENGTH:
        raise ConfigError(
            option,
            got=name,
            expected="a host name or IPv4 address (letters, digits, '.', '-', '_')",
            fix=f"correct the name, {_EXAMPLE}",
        )
    return name


def _host(text: str, option: str, default_slots: int | None) -> Host:
    name, colon, slots = text.partition(":")
    require_name(name, option)
    if not colon and default_slots is not None:
        return Host(name, default_slots)
    if not re.fullmatch(r"[0-9]{1,5}", slots) or int(slots) == 0:
        raise ConfigError(
            option,
            got=text,
            expected="name:slots with a positive number of slots",
            fix=f"give the number of ranks per host, {_EXAMPLE}",
        )
    return Host(name, int(slots))


def require_once(hosts: Sequence[Host], option: str) -> None:
    """Raises a ConfigError if a host is named twice: its ranks would have the same numbers."""
    name, count = Counter(host.name for host in hosts).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            option,
            got=f"{name} {count} times",
            expected="each host once",
            fix=f"add up its slots: {name}:N",
        )


def assign(hosts: Sequence[Host], num_ranks: int) -> list[Slot]:
    """Places ranks on hosts, as many on each as it has slots, in their order.

    Args:
        hosts: The hosts.
        num_ranks: Number of ranks.

    Raises:
        ConfigError: If there are fewer slots than ranks.
    """
    available = sum(host.slots for host in hosts)
    if available < num_ranks:
        listed = ",".join(f"{host.name}:{host.slots}" for host in hosts)
        raise ConfigError(
            "-np",
            got=num_ranks,
            expected=f"at most {available}, the number of slots of {listed or 'no host'}",
            fix="start fewer ranks, or add hosts or slots with -H",
        )
    sizes: list[int] = []
    for host in hosts:
        sizes.append(min(host.slots, num_ranks - sum(sizes)))
    slots: list[Slot] = []
    for index, host in enumerate(hosts):
        for local_rank in range(sizes[index]):
            with_same = [other for other, size in enumerate(sizes) if size > local_rank]
            slots.append(
                Slot(
                    host=host.name,
                    rank=len(slots),
                    size=num_ranks,
                    local_rank=local_rank,
                    local_size=sizes[index],
                    cross_rank=with_same.index(index),
                    cross_size=len(with_same),
                )
            )
    return slots
