"""Ranks that fail: what the run must do then, whoever has started it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.support.survival import result_of, run_to_the_end, run_with_fault, twin

EXIT_CODES = {"kill": {137}, "term": {75, 143}, "raise": {1}, "segv": {139}, "memory": {1}}


def require_survival(
    directory: Path,
    fault: str,
    options: tuple[str, ...],
    said: Callable[[int], str],
    launcher: str = "gloo",
) -> None:
    """Requires that a run of two ranks ends after a fault, says why, and continues bit for bit.

    Args:
        directory: Where the run directory is made.
        fault: The fault, as in `tests.support.fault_injection`.
        options: Of the training.
        said: Returns what must be in the output after an exit code, a regular expression.
        launcher: "gloo" or "mpi".
    """
    action = fault.partition("@")[0]
    outcome = run_with_fault(directory, fault, size=2, options=options, launcher=launcher)
    assert outcome.output.count("FAULT ") == 1, outcome.output
    assert outcome.seconds < 30, outcome.output
    is_complete = (directory / "run" / "summary.json").exists()
    if action == "term" and outcome.exit_code == 0:
        # The run was complete before the rank would have ended.
        assert is_complete, outcome.output
        return
    assert outcome.exit_code in EXIT_CODES[action], outcome.output
    assert re.search(said(outcome.exit_code), outcome.output), outcome.output
    if not is_complete:
        require_same_end(directory, options, launcher)


def require_same_end(directory: Path, options: tuple[str, ...], launcher: str = "gloo") -> None:
    """Continues a run of two ranks; it must end as one that was never stopped, under Gloo."""
    continued = run_to_the_end(directory, size=2, options=options, launcher=launcher)
    assert result_of(directory, continued) == twin(2, options)
