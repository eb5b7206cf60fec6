"""The report on several hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.doctor.check import Check, Status, fail, ok
from hvd_imgcls.doctor.hosts.asking import Answer, ask
from hvd_imgcls.doctor.hosts.cells import COLUMNS, Cell
from hvd_imgcls.doctor.hosts.facts import facts
from hvd_imgcls.doctor.hosts.links import Link, measure_links
from hvd_imgcls.launcher.hosts import Host
from hvd_imgcls.launcher.network import is_local, launcher_address
from hvd_imgcls.launcher.ssh import Ssh

_SLOW_BYTES_PER_SECOND = 125e6
"""1 Gbit/s."""


def survey(hosts: Sequence[Host], ssh: Ssh) -> Iterator[Check | str]:
    """Yields the table of the hosts, then what is wrong, then the network between them.

    Args:
        hosts: The hosts and the number of ranks on each.
        ssh: How they are reached.
    """
    others = [host.name for host in hosts if not is_local(host.name)]
    own_address = launcher_address(others, ())
    here = facts(Path.cwd(), "", own_address)
    answers = ask([host.name for host in hosts], ssh, own_address)
    slots = {host.name: host.slots for host in hosts}
    cells = {answer.host: cells_of(answer, here, slots[answer.host]) for answer in answers}
    yield from table(cells)
    for answer in answers:
        if answer.problem:
            fix = f"make `ssh {answer.host} true` work without a password"
            yield fail(f"{answer.host}, ssh", answer.problem, fix)
        for column, cell in cells[answer.host].items():
            if cell.status is not Status.OK and not answer.problem:
                name = f"{answer.host}, {column}"
                yield Check(name=name, status=cell.status, detail=cell.detail, fix=cell.fix)
    reached = {
        answer.host: answer.facts["network"]["address"]
        for answer in answers
        if not answer.problem and "address" in answer.facts["network"]
    }
    if len(reached) > 1:
        yield from map(check_link, measure_links(_addresses(reached, own_address), ssh))


def cells_of(answer: Answer, here: dict[str, Any], slots: int) -> dict[str, Cell]:
    """Returns the cells of one host by column; empty texts if it did not answer."""
    if answer.problem:
        return {"ssh": Cell("FAIL", Status.FAIL), **{column: Cell("") for column in COLUMNS}}
    checked = {column: check(answer, here, slots) for column, check in COLUMNS.items()}
    return {"ssh": Cell("ok"), **checked}


def table(cells: dict[str, dict[str, Cell]]) -> Iterator[str]:
    """Yields the lines of the table."""
    columns = list(next(iter(cells.values())))
    rows = [["host", *columns]]
    rows += [[host, *(cell.text for cell in row.values())] for host, row in cells.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def check_link(link: Link) -> Check:
    """Returns what was measured between two hosts."""
    name = f"{link.source} to {link.target}"
    if link.problem:
        fix = "open the firewall between the hosts for all TCP ports, or use another interface"
        return fail(name, link.problem, fix)
    rate, round_trip = link.bytes_per_second * 8 / 1e9, link.round_trip * 1e3
    detail = f"round trip {round_trip:.2f} ms, {rate:.2f} Gbit/s"
    if link.bytes_per_second < _SLOW_BYTES_PER_SECOND:
        detail += "; a slow network has its own ways, see docs/choosing-synchronization.md"
    return ok(name, detail)


def _addresses(reached: dict[str, str], own_address: str) -> dict[str, str]:
    """Replaces the address with which this host reaches itself by that of the run's network."""
    return {host: own_address if is_local(host) else address for host, address in reached.items()}
