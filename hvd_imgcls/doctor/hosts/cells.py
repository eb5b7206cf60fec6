"""What is checked of every host: one function for each column of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.doctor.check import Status
from hvd_imgcls.doctor.hosts.asking import Answer
from hvd_imgcls.doctor.hosts.facts import PACKAGES

_FAIL_BELOW_BYTES, _WARN_BELOW_BYTES = 1e9, 5e9
_WARN_ABOVE_CLOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table.

    Attributes:
        text: What the table shows.
        status: Whether the host is ready in this respect.
        detail: What was found, if it is not.
        fix: What to do about it.
    """

    text: str
    status: Status = Status.OK
    detail: str = ""
    fix: str = ""


def versions(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """The same packages and the same Python."""
    found, wanted = dict(answer.facts["versions"]), dict(here["versions"])
    found["python"], wanted["python"] = answer.facts["python"], here["python"]
    other = [
        f"{name} {found[name] or 'missing'} (here {wanted[name]})"
        for name in ("python", *PACKAGES)
        if found[name] != wanted[name]
    ]
    if not other:
        return Cell("ok")
    fix = f"run `make setup` of the same commit on {answer.host}"
    return Cell("other", Status.FAIL, ", ".join(other), fix)


def build(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """The same build of Horovod."""
    found, wanted = answer.facts["horovod_build"], here["horovod_build"]
    if found == wanted:
        return Cell("ok")
    detail = f"its Horovod was built for {found or 'something unknown'}, here for {wanted}"
    fix = f"run `hvd-imgcls install-horovod` on {answer.host}"
    # Another compiler or C library is no reason why it could not work.
    return Cell("other", Status.WARNING, detail, fix)


def code(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """The same source files of hvd_imgcls."""
    if answer.facts["code"] == here["code"]:
        return Cell("ok")
    detail = f"the files of hvd_imgcls differ ({answer.facts['code']}, here {here['code']})"
    return Cell("other", Status.FAIL, detail, f"copy this directory to {answer.host}")


def directory(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """The working directory, and whether it is the same storage."""
    if not answer.facts["has_directory"]:
        detail = "this directory does not exist there"
        return Cell("missing", Status.FAIL, detail, f"create it on {answer.host}, or share it")
    if answer.facts["sees_token"]:
        return Cell("shared")
    detail = "this directory is not on storage that all hosts share"
    fix = "a run that must survive the loss of the first host needs a shared run directory"
    return Cell("own", Status.WARNING, detail, fix)


def disk(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """Free space in the working directory."""
    free = answer.facts["free_bytes"]
    text = f"{free / 1e9:.0f} GB"
    fix = f"free some space on {answer.host}"
    if free < _FAIL_BELOW_BYTES:
        return Cell(text, Status.FAIL, f"{free / 1e6:.0f} MB are free in this directory", fix)
    if free < _WARN_BELOW_BYTES:
        return Cell(text, Status.WARNING, f"{text} are free in this directory", fix)
    return Cell(text)


def clock(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """The difference between the clocks."""
    seconds, error = answer.clock_seconds, answer.clock_error_seconds
    text = f"{seconds:+.1f} s"
    if abs(seconds) - error <= _WARN_ABOVE_CLOCK_SECONDS:
        return Cell("ok")
    detail = f"its clock differs by {text} (measured to {error:.1f} s)"
    return Cell(text, Status.WARNING, detail, f"synchronise the clock of {answer.host} (NTP)")


def cores(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """Cores, at least one for each rank."""
    found = answer.facts["cores"]
    if found >= slots:
        return Cell(str(found))
    detail = f"{found} cores for {slots} ranks"
    return Cell(str(found), Status.WARNING, detail, f"start fewer ranks on {answer.host}")


def gpus(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """GPUs: none, or one for each rank."""
    found = answer.facts["gpus"]
    if found in (0, slots) or found > slots:
        return Cell(str(found))
    detail = f"{found} GPUs for {slots} ranks"
    return Cell(str(found), Status.WARNING, detail, f"start {found} ranks on {answer.host}")


def memory(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """Main memory."""
    return Cell(f"{answer.facts['memory_bytes'] / 1e9:.0f} GB")


def network(answer: Answer, here: dict[str, Any], slots: int) -> Cell:
    """The interface and address that lead to the other hosts."""
    found = answer.facts["network"]
    if "problem" in found:
        fix = f"check the addresses of {answer.host}, or name another one with -H"
        return Cell("none", Status.FAIL, f"no way to this host: {found['problem']}", fix)
    return Cell(f"{found['interface']} {found['address']}")


COLUMNS: dict[str, Callable[[Answer, dict[str, Any], int], Cell]] = {
    "versions": versions,
    "Horovod": build,
    "code": code,
    "directory": directory,
    "disk": disk,
    "clock": clock,
    "cores": cores,
    "GPUs": gpus,
    "memory": memory,
    "network": network,
}
