"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How a check came out. The value is what is printed."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was looked at and how it came out.

    Attributes:
        name: What was looked at.
        status: A warning does not keep one machine from training, a failure does.
        detail: What was found.
        fix: What to do about it. Empty when all is well.
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
    """Returns a check that came out well."""
    return Check(name=name, status=Status.OK, detail=detail)


def warning(name: str, detail: str, fix: str) -> Check:
    """Returns a check that one machine can live with."""
    return Check(name=name, status=Status.WARNING, detail=detail, fix=fix)


def fail(name: str, detail: str, fix: str) -> Check:
    """Returns a check that keeps this machine from training."""
    return Check(name=name, status=Status.FAIL, detail=detail, fix=fix)
