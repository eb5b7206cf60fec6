"""Arms that take turns on one core, each in a separate process, and their ratios."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from hvd_imgcls.bench.measuring.launching import environment
from hvd_imgcls.bench.measuring.ratio import Ratio, alternating_order, ratio_of_pairs
from hvd_imgcls.errors import HvdImgclsError

logger = logging.getLogger(__name__)

CLOCKS = ("wall", "cpu")
# Seconds per unit in every turn, by clock.
Times = dict[str, list[float]]


class Arm:
    """A process that works when it is its turn. See `window.Turns` for its counterpart.

    Args:
        name: Name for error messages.
        module: Module to run, with the core as its first argument.
        arguments: Its other arguments.
        core: The core it runs on.
        python: Interpreter of another environment, in which the module's file runs as a script;
            this one when None.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        core: int,
        *,
        python: Path | None = None,
    ) -> None:
        self.name = name
        self.times: Times = {clock: [] for clock in CLOCKS}
        # A process that outlives this call.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*_command(module, python), str(core), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(1, os.environ) | ({"PYTHONPATH": ""} if python else {}),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate()
        self._errors.close()

    def get_ready(self) -> None:
        """Waits until it is ready for its turn."""
        self._read()

    def take_turn(self) -> dict[str, float]:
        """Runs one turn; returns seconds per unit by clock."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        taken = self._read()
        self.get_ready()
        return taken

    def _read(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            end = self._errors.read().decode(errors="replace").splitlines()[-30:]
            raise HvdImgclsError(f"the arm {self.name!r} ended:\n" + "\n".join(end))
        taken: dict[str, float] = json.loads(line)
        return taken


def _command(module: str, python: Path | None) -> list[str]:
    if python is None:
        return [sys.executable, "-m", module]
    found = importlib.util.find_spec(module)
    return [str(python), str(found.origin if found else module)]


def core_of_arms() -> int:
    """Returns the core on which all arms take turns: the last one, which hosts use least."""
    return max(os.sched_getaffinity(0))


def take_turns(
    module: str,
    arms: Mapping[str, Sequence[str]],
    rounds: int,
    *,
    others: Sequence[Callable[[], Arm]] = (),
) -> dict[str, Times]:
    """Starts arms on one core and returns the result of `measure`.

    Args:
        module: Module of the arms.
        arms: Their arguments, by name.
        rounds: Number of rounds to measure.
        others: Start arms of other modules.
    """
    logger.info("%s: %d turns of each ...", " and ".join(arms), rounds)
    with contextlib.ExitStack() as processes:
        started = [
            processes.enter_context(Arm(name, module, words, core_of_arms()))
            for name, words in arms.items()
        ]
        started += [processes.enter_context(start()) for start in others]
        return measure(started, rounds)


def measure(arms: Sequence[Arm], rounds: int) -> dict[str, Times]:
    """Returns seconds per unit of every arm in every round, after one warm-up round.

    The order alternates between rounds.

    Args:
        arms: At least two, just started.
        rounds: Number of rounds to measure.
    """
    for arm in arms:
        arm.get_ready()
        arm.take_turn()
    for first, _ in alternating_order(rounds):
        for arm in arms if first == 0 else reversed(arms):
            for clock, seconds in arm.take_turn().items():
                arm.times[clock].append(seconds)
    return {arm.name: arm.times for arm in arms}


def speed_ratio(
    times: Mapping[str, Times], ours: str, theirs: str, *, goal: float | None, unit: str
) -> dict[str, Any]:
    """Returns how many times as fast one arm is as another: above 1 is faster.

    Args:
        times: Result of `measure`.
        ours: Name of our arm.
        theirs: Name of the baseline.
        goal: Minimum ratio; None if there is none.
        unit: Name of the unit, for the text: "images".
    """
    rates = {
        name: {clock: 1 / statistics.median(times[name][clock]) for clock in CLOCKS}
        for name in (ours, theirs)
    }
    ratios = _ratios(times[theirs], times[ours])
    text_of_arms = ", ".join(f"{name} {rate['cpu']:,.0f}" for name, rate in rates.items())
    return {
        **_verdict(ratios, "at least", goal),
        "figures": rates,
        "figures are": f"{unit} per second",
        "text": f"{_describe(ratios)}; {unit} per CPU second: {text_of_arms}",
    }


def time_ratio(
    times: Mapping[str, Times],
    ours: str,
    theirs: str,
    *,
    goal: float | None,
    unit: str = "step",
) -> dict[str, Any]:
    """Returns the ratio of the times per unit of two arms.

    Args:
        times: Result of `measure`.
        ours: Name of our arm.
        theirs: Name of the baseline.
        goal: Maximum ratio; None if there is none.
        unit: Name of the unit, for the text.
    """
    steps = {
        name: {clock: 1e3 * statistics.median(times[name][clock]) for clock in CLOCKS}
        for name in (ours, theirs)
    }
    ratios = _ratios(times[ours], times[theirs])
    text_of_arms = ", ".join(f"{name} {step['cpu']:.2f}" for name, step in steps.items())
    return {
        **_verdict(ratios, "at most", goal),
        "figures": steps,
        "figures are": f"ms per {unit}",
        "text": f"{_describe(ratios)}; CPU ms per {unit}: {text_of_arms}",
    }


def _ratios(numerator: Times, denominator: Times) -> dict[str, Ratio]:
    return {clock: ratio_of_pairs(numerator[clock], denominator[clock]) for clock in CLOCKS}


def _verdict(
    ratios: Mapping[str, Ratio], bound: Literal["at least", "at most"], goal: float | None
) -> dict[str, Any]:
    verdict: dict[str, Any] = {"ratio": {clock: ratio.to_json() for clock, ratio in ratios.items()}}
    if goal is not None:
        value = ratios["cpu"].value
        verdict["goal"] = f"{bound} {goal:g}"
        verdict["reached"] = value >= goal if bound == "at least" else value <= goal
    return verdict


def _describe(ratios: Mapping[str, Ratio]) -> str:
    return "; ".join(f"{clock} {ratio.describe()}" for clock, ratio in ratios.items())
