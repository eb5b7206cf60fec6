"""`bench checkpoint`: the costs of saving, of continuing, and of deterministic training."""

from __future__ import annotations

import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from hvd_imgcls.bench.measuring.launching import environment, run_module
from hvd_imgcls.bench.measuring.ratio import Ratio, alternating_order, ratio_of_pairs
from hvd_imgcls.bench.measuring.turns import take_turns
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.run_directory.paths import RunDir

logger = logging.getLogger(__name__)

SIDES = (64, 160)
NUM_IMAGES, NUM_FILES, BATCH_SIZE = 1_300_000, 1000, 64
# Of the epoch, where the run continues.
POSITIONS = (0.01, 0.5, 0.99)
_PIPELINE = """
data: {{source: {{name: manifest, path: {table}}}, image_size: 32}}
model: {{name: resnet20}}
optimizer: {{name: sgd}}
schedule: {{name: constant, base_learning_rate: 0.1}}
train: {{global_batch_size: {batch}, num_epochs: 2}}
logging: {{tensorboard: false, report: false}}
"""


def run(pairs: int) -> dict[str, Any]:
    """Measures all and returns their ratios.

    Args:
        pairs: Pairs of each measurement.
    """
    results = {f"ResNet-50, {side} x {side} pixels": _saving(pairs, side) for side in SIDES}
    return {**results, **_continuing(pairs), "deterministic": _determinism(pairs)}


def _saving(pairs: int, side: int) -> dict[str, Any]:
    """Steps with a checkpoint in every 50 against steps without."""
    cores = os.cpu_count() or 1
    record = run_module(
        "hvd_imgcls.bench.checkpoints.saving_arms",
        ["{result}", str(pairs), str(side)],
        size=1,
        threads=cores,
        timeout_seconds=7200,
    )
    ratio = ratio_of_pairs(record["with"], record["without"])
    step = statistics.median(record["without"])
    pause = max(record["pause"])
    logger.info(
        "step with a checkpoint in every 50 / without, ResNet-50 of %d pixels: %s (goal at most "
        "1.02); a step %.3f s, longest pause %.3f s, memory %.0f MiB",
        side,
        ratio.describe(),
        step,
        pause,
        record["memory"] / 2**20,
    )
    return {
        **ratio.to_json(),
        "step, seconds": round(step, 4),
        "longest pause, seconds": round(pause, 4),
        "memory, MiB": round(record["memory"] / 2**20),
    }


def _continuing(pairs: int) -> dict[str, Any]:
    """From the command to the first new step, continuing against from the beginning."""
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as name:
        folder = Path(name)
        pipeline = _write_images(folder)
        saved = _saved_run(pipeline, folder)
        times: dict[str, list[float]] = {"beginning": [], **{str(at): [] for at in POSITIONS}}
        for first, _ in alternating_order(pairs):
            for arm in times if first == 0 else reversed(times):
                run_dir = folder / "run"
                shutil.rmtree(run_dir, ignore_errors=True)
                if arm != "beginning":
                    shutil.copytree(saved, run_dir)
                    _move_to(run_dir, float(arm))
                times[arm].append(_seconds_to_first_step(pipeline, run_dir))
    results = {}
    for at in POSITIONS:
        ratio = ratio_of_pairs(times[str(at)], times["beginning"])
        _say_continuing(at, ratio, times)
        results[f"to the first new step at {at:.0%} of the epoch"] = {
            **ratio.to_json(),
            "continuing, seconds": round(statistics.median(times[str(at)]), 2),
            "from the beginning, seconds": round(statistics.median(times["beginning"]), 2),
        }
    return results


def _say_continuing(at: float, ratio: Ratio, times: dict[str, list[float]]) -> None:
    logger.info(
        "command to first new step at %.0f %% of an epoch of %s images / from the beginning: %s "
        "(goal at most 1.1); %.1f s and %.1f s",
        100 * at,
        f"{NUM_IMAGES:,}",
        ratio.describe(),
        statistics.median(times[str(at)]),
        statistics.median(times["beginning"]),
    )


def _write_images(folder: Path) -> Path:
    """Writes small JPEG files and a table that names each of them many times."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    names = [f"images/{number}.jpg" for number in range(NUM_FILES)]
    for file in names:
        Image.fromarray(random.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(folder / file)
    number = np.arange(NUM_IMAGES)
    # Every file by many names, because a file may be in a table once.
    for link in range(NUM_IMAGES // NUM_FILES):
        (folder / f"link{link}").mkdir()
        for one in range(NUM_FILES):
            os.link(folder / names[one], folder / f"link{link}" / f"{one}.jpg")
    paths = [f"link{one // NUM_FILES}/{one % NUM_FILES}.jpg" for one in number.tolist()]
    split = np.where(number < 1000, "held_out", "train")
    table = pa.table({"path": paths, "label": number % 10, "split": split})
    pq.write_table(table, folder / "table.parquet")
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(_PIPELINE.format(table=folder / "table.parquet", batch=BATCH_SIZE))
    return pipeline


def _saved_run(pipeline: Path, folder: Path) -> Path:
    """Returns the directory of a run that was stopped after its first step."""
    run_dir = folder / "saved"
    _run_arm(pipeline, run_dir, "save")
    return run_dir


def _move_to(run_dir: Path, share: float) -> None:
    """Moves the newest checkpoint of a run to another position in the first epoch."""
    store = CheckpointStore(RunDir(run_dir).checkpoints)
    newest = store.newest(logger.warning)
    if newest is None:
        raise HvdImgclsError(f"{run_dir} has no checkpoint")
    step = int(share * (NUM_IMAGES // BATCH_SIZE))
    position = {"num_batches": step, "epoch": 0, "batches_before_epoch": 0, "step": step}
    states = {**newest.states, "training.position": position}
    store.write(step, states, newest.states_by_rank, newest.facts)


def _seconds_to_first_step(pipeline: Path, run_dir: Path) -> float:
    began = time.perf_counter()
    _run_arm(pipeline, run_dir, "end")
    return time.perf_counter() - began


def _run_arm(pipeline: Path, run_dir: Path, end: str) -> None:
    module = "hvd_imgcls.bench.checkpoints.continuing_arms"
    subprocess.run(
        [sys.executable, "-m", module, str(pipeline), str(run_dir), end],
        env=environment(1, os.environ),
        capture_output=True,
        check=True,
        timeout=600,
    )


def _determinism(pairs: int) -> dict[str, Any]:
    """Deterministic steps against others."""
    times = take_turns(
        "hvd_imgcls.bench.checkpoints.determinism_arms",
        {"deterministic": ["deterministic"], "default": ["default"]},
        pairs,
    )
    ratio = ratio_of_pairs(times["deterministic"]["wall"], times["default"]["wall"])
    logger.info("step of ResNet-20, deterministic / default: %s", ratio.describe())
    return ratio.to_json()
