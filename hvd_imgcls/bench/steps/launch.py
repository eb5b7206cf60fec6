"""`bench launch`: from the command to the first step, on several hosts and on this one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.measuring.launching import environment, launcher
from hvd_imgcls.bench.measuring.ratio import ratio_of_pairs
from hvd_imgcls.errors import ConfigError, HvdImgclsError
from hvd_imgcls.launcher.hosts import parse_hosts

logger = logging.getLogger(__name__)

GOAL = 1.5
# The first line of progress: of the first step, or of the first epoch if that takes no second.
_FIRST_STEP = "  step "
_OPTIONS = ("--logging={tensorboard: false, report: false}", "--checkpoint=null")
_END_SECONDS = 60


def run(pairs: int, hosts: str | None) -> dict[str, Any]:
    """Launches `train digits_cnn` on hosts and, with as many ranks, on this one, in turns.

    Args:
        pairs: Launches of each.
        hosts: The hosts, as for `horovodrun -H`.

    Raises:
        ConfigError: If no hosts are given.
        HvdImgclsError: If a launch fails.
    """
    if hosts is None:
        raise ConfigError(
            "--hosts", got=None, expected="hosts and slots", fix="--hosts host1:1,host2:1"
        )
    size = sum(host.slots for host in parse_hosts(hosts, "--hosts"))
    here = launcher(size)
    there = [*here[: here.index("-H")], "-H", hosts]
    seconds: dict[str, list[float]] = {"hosts": [], "here": []}
    for number in range(pairs):
        order = [("hosts", there), ("here", here)]
        for arm, words in order if number % 2 else reversed(order):
            seconds[arm].append(_seconds_to_first_step(words))
        logger.info("  pair %d: %s", number + 1, {arm: of[-1] for arm, of in seconds.items()})
    ratio = ratio_of_pairs(seconds["hosts"], seconds["here"])
    text = f"{size} ranks on {hosts} / on this host: {ratio.describe()} (goal at most {GOAL})"
    logger.log(logs.RESULT, "from the command to the first step, %s", text)
    return {
        "seconds": {arm: [round(one, 2) for one in of] for arm, of in seconds.items()},
        **ratio.to_json(),
        "goal": f"at most {GOAL}",
        "reached": ratio.value <= GOAL,
    }


def _seconds_to_first_step(words: Sequence[str]) -> float:
    """Returns the time of one launch, which is ended after its first step."""
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-launch-") as directory:
        command = [*words, sys.executable, "-m", "hvd_imgcls", "train", "digits_cnn", *_OPTIONS]
        began = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=directory,
            env=environment(1, {**os.environ, "PWD": directory}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            lines = []
            for line in process.stdout or ():
                lines.append(line)
                if _FIRST_STEP in line:
                    seconds = time.monotonic() - began
                    process.terminate()
                    process.communicate(timeout=_END_SECONDS)
                    return seconds
        raise HvdImgclsError(f"{' '.join(command)} made no step:\n{''.join(lines[-30:])}")
