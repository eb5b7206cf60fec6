"""`bench dynamic`: `data.allocation: dynamic` against `static`, if one of two ranks is slow.

The slow rank is stopped by signals for half of the time, in turns of some milliseconds, and so
computes at half speed. Then two ranks can be 1.5 times as fast as with equal parts: 1 + 1/2 instead
of 1/2 + 1/2.
"""

from __future__ import annotations

import functools
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.measuring.rates import RunArm, measure_rates, rate_ratio

logger = logging.getLogger(__name__)

GLOBAL_BATCH, NUM_IMAGES, EPOCHS, MEASURED_EPOCHS = 128, 2048, 10, 3
IDEAL = 1.5
SLOW_STATIC, SLOW_DYNAMIC = "one slow rank, static", "one slow rank, dynamic"
STATIC, DYNAMIC = "equal ranks, static", "equal ranks, dynamic"
GOALS = {(SLOW_DYNAMIC, SLOW_STATIC): 1.25 / 1.33 * IDEAL, (DYNAMIC, STATIC): 0.98}
_PIPELINE = """
data: {{source: {{name: image_folder, path: {images}}}, image_size: 32, cache: decoded}}
model: {{name: resnet20}}
optimizer: {{name: sgd}}
schedule: {{name: constant, base_learning_rate: 0.01}}
train: {{global_batch_size: {batch}, num_epochs: {epochs}}}
logging: {{tensorboard: false, report: false}}
checkpoint: null
"""


def run(rounds: int) -> dict[str, Any]:
    """Measures all four arms and returns the ratios of dynamic to static.

    Args:
        rounds: Turns of each arm.
    """
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as name:
        pipeline = _write_images(Path(name))
        arms: dict[str, RunArm] = {
            arm: functools.partial(_train, pipeline, allocation, is_slow=is_slow)
            for arm, allocation, is_slow in (
                (SLOW_STATIC, "static", True),
                (SLOW_DYNAMIC, "dynamic", True),
                (STATIC, "static", False),
                (DYNAMIC, "dynamic", False),
            )
        }
        rates = measure_rates(arms, rounds=rounds, global_batch=GLOBAL_BATCH)
    return {
        f"{ours} / {theirs}": rate_ratio(rates, ours, theirs, round(goal, 2))
        for (ours, theirs), goal in GOALS.items()
    }


def _write_images(folder: Path) -> Path:
    """Writes random images of ten classes; returns the pipeline."""
    random = np.random.default_rng(0)
    for label in range(10):
        (folder / "images" / str(label)).mkdir(parents=True)
    for number in range(NUM_IMAGES * 10 // 9):
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        path = folder / "images" / str(number % 10) / f"{number}.png"
        Image.fromarray(pixels).save(path, compress_level=0)
    pipeline = folder / "pipeline.yaml"
    text = _PIPELINE.format(images=folder / "images", batch=GLOBAL_BATCH, epochs=EPOCHS)
    pipeline.write_text(text, encoding="utf-8")
    return pipeline


def _train(pipeline: Path, allocation: str, *, is_slow: bool) -> list[float]:
    """Returns the mean seconds per step of the last epochs."""
    images_per_second: list[float] = run_module(
        "hvd_imgcls.bench.comparisons.dynamic_rank",
        ["{result}", str(pipeline), allocation, str(int(is_slow))],
        size=2,
        threads=1,
        timeout_seconds=1800,
    )
    return [GLOBAL_BATCH / rate for rate in images_per_second[-MEASURED_EPOCHS:]]
