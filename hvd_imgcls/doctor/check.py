"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """The outcome of a check. The value is what is printed."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A check and its outcome.

    Attributes:
        name: What was checked.
        status: A failure prevents training on this machine, a warning does not.
        detail: What was found.
        fix: What to do about it. Empty if nothing has to be done.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""

    def describe(self) -> str:
        """Returns the check as text, with the fix on a line of its own."""
        text = f"{self.status.value:7}  {self.name}: {self.detail}"
        return f"{text}\n{'':9}to fix it: {self.fix}" if self.fix else text


def ok(name: str, detail: str) -> Check:
    """Returns a check that passed."""
    return Check(name=name, status=Status.OK, detail=detail)


def warning(name: str, detail: str, fix: str) -> Check:
    """Returns a check that found something which does not prevent training."""
    return Check(name=name, status=Status.WARNING, detail=detail, fix=fix)


def fail(name: str, detail: str, fix: str) -> Check:
    """Returns a check that found something which prevents training on this machine."""
    return Check(name=name, status=Status.FAIL, detail=detail, fix=fix)
