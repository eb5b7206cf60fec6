"""`bench time-to-accuracy`: time to a target accuracy on CIFAR-10, ours and a plain script.

Both use two ranks with half of the cores each. Our arm is `hvd-imgcls train` as started by a user,
measured from launch to exit, including evaluation and saving. The plain script (`plain_cifar`) ends
after the epoch in which it reaches the target accuracy.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.comparisons.peers import CACHE, install_tf_keras, with_tf_keras
from hvd_imgcls.bench.measuring.launching import launcher
from hvd_imgcls.errors import HvdImgclsError

logger = logging.getLogger(__name__)

SIZE = 2
GOAL = 3.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure.

    Attributes:
        cifar: Folder with CIFAR-10 as image files in `train/<class>` and `test/<class>`.
        target: Target accuracy on the test images, 0 to 1.
        pipeline: File of our pipeline.
        overrides: Command-line overrides of the pipeline.
        plain_epochs: Epochs of the plain script's learning-rate schedule.
        repeats: Number of runs. Each takes minutes to hours.
    """

    cifar: Path
    target: float
    pipeline: Path
    overrides: Sequence[str]
    plain_epochs: int
    repeats: int


def run(settings: Settings) -> dict[str, Any]:
    """Runs both and returns times, accuracies and the speed-up."""
    races = []
    for number in range(settings.repeats):
        ours = _ours(settings, seed=number)
        _say("ours", ours, settings.target)
        plain = _plain(settings)
        _say("plain script", plain, settings.target)
        races.append({"ours": ours, "plain": plain})
    both = [race for race in races if race["ours"]["reached"] and race["plain"]["reached"]]
    ratios = [race["plain"]["seconds"] / race["ours"]["seconds"] for race in both]
    logger.info(
        "plain / ours: %s (goal at least %g); %d of %d races in which both reached %.4g",
        ", ".join(f"{ratio:.2f}" for ratio in ratios) or "-",
        GOAL,
        len(both),
        len(races),
        settings.target,
    )
    return {"races": races, "plain / ours": ratios, "goal": f"at least {GOAL:g}"}


def _say(name: str, result: dict[str, Any], target: float) -> None:
    verdict = "reached" if result["reached"] else "did not reach"
    logger.info(
        "%s: %.0f s, accuracy %.4f, %s %.4g",
        name,
        result["seconds"],
        result["accuracy"],
        verdict,
        target,
    )


def _ours(settings: Settings, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as directory:
        run_dir = Path(directory) / "run"
        words = ["--data.source.path", str(settings.cifar), "--run_dir", str(run_dir)]
        words += ["--train.seed", str(seed), *settings.overrides]
        train = ["-m", "hvd_imgcls", "train", str(settings.pipeline), "--quiet", *words]
        seconds = _timed([*launcher(SIZE), sys.executable, *train], dict(os.environ))
        text = (run_dir / "evaluation.json").read_text(encoding="utf-8")
    accuracy = float(json.loads(text)["top1"])
    return {"seconds": seconds, "accuracy": accuracy, "reached": accuracy >= settings.target}


def _plain(settings: Settings) -> dict[str, Any]:
    threads = max(1, (os.cpu_count() or 1) // SIZE)
    tf_keras = install_tf_keras(CACHE.expanduser())
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as directory:
        result = Path(directory) / "result.json"
        words = [str(result), str(settings.cifar), str(settings.target)]
        words += [str(settings.plain_epochs), str(threads)]
        script = [sys.executable, "-m", "hvd_imgcls.bench.comparisons.plain_cifar", *words]
        began = time.time()
        _timed([*launcher(SIZE), *script], with_tf_keras(tf_keras))
        notes = json.loads(result.read_text(encoding="utf-8"))
    accuracies = notes["accuracies"]
    return {
        "seconds": notes["times"][-1] - began,
        "accuracy": accuracies[-1],
        "accuracies": accuracies,
        "reached": accuracies[-1] >= settings.target,
    }


def _timed(command: list[str], variables: dict[str, str]) -> float:
    """Runs a command; its output goes to the terminal.

    Returns:
        The duration in seconds.

    Raises:
        HvdImgclsError: If it fails.
    """
    began = time.perf_counter()
    code = subprocess.run(command, env=variables, check=False).returncode
    if code:
        raise HvdImgclsError(f"{' '.join(command)} ended with exit code {code}")
    return time.perf_counter() - began
