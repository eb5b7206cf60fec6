"""Carries an exception of a callback that ran on the root to the other ranks."""

from __future__ import annotations

from typing import Any

from hvd_imgcls.errors import RootFailedError


def describe(error: BaseException, hook: str) -> dict[str, Any]:
    """Returns the description of an error for the other ranks, a JSON object."""
    kind = type(error).__name__
    code = error.code if isinstance(error, SystemExit) else None
    where = "; ".join(getattr(error, "__notes__", [])) or f"in {hook}, run on rank 0 for all"
    return {
        "error": {
            "kind": kind,
            "text": f"a callback failed on rank 0: {kind}: {error} ({where})",
            "code": code if code is None or isinstance(code, int) else 1,
        }
    }


def as_on_the_root(failure: dict[str, Any]) -> BaseException:
    """Returns what another rank raises for the entry `error` of `describe`."""
    if failure["kind"] == "SystemExit":
        return SystemExit(failure["code"])
    if failure["kind"] == "KeyboardInterrupt":
        return KeyboardInterrupt()
    return RootFailedError(failure["text"])
