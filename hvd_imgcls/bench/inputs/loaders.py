"""The rows i and j of `bench input`: our training batches against torchvision and FFCV."""

from __future__ import annotations

import functools
import logging
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.comparisons.peers import CACHE, torch_python
from hvd_imgcls.bench.inputs.decoding_arms import images_per_turn
from hvd_imgcls.bench.inputs.photographs import BATCH_SIZE
from hvd_imgcls.bench.inputs.settings import Settings
from hvd_imgcls.bench.measuring.launching import environment, prepare_records
from hvd_imgcls.bench.measuring.turns import Arm, Times, core_of_arms, speed_ratio, take_turns
from hvd_imgcls.errors import HvdImgclsError, SetupError

logger = logging.getLogger(__name__)

OURS = "hvd_imgcls.bench.inputs.decoding_arms"
TORCHVISION, FFCV = (f"hvd_imgcls.bench.inputs.{name}_arms" for name in ("torchvision", "ffcv"))
TORCHVISION_GOAL, FFCV_GOAL = 1.3, 1.0
VALUES = ("uint8", "float")
KINDS = {"pil": "PIL images", "tensors": "tensors"}
# Worker processes of the DataLoader; the faster of the two counts.
WORKERS = {"0": "no worker", "1": "one worker"}
MAX_SIDE = 500
# FFCV's files: part of the images that is JPEG.
FILES = {"FFCV, JPEG": "1", "FFCV, half of the images as pixels": "0.5"}


def torchvision(settings: Settings, folder: Path) -> dict[str, Any]:
    """Row i: speed of training batches from the same JPEG files."""
    python = settings.torch_python or torch_python(CACHE.expanduser(), with_torchvision=True)
    photographs = folder / "photographs"
    numbers = [str(_images_per_turn(photographs)), str(BATCH_SIZE)]
    results = {}
    for value in VALUES:
        arms = {
            f"torchvision, {KINDS[kind]}, {WORKERS[workers]}": [
                *(kind, value, workers, str(photographs / "train")),
                *numbers,
            ]
            for kind in KINDS
            for workers in WORKERS
        }
        times = _take_turns(value, photographs, arms, TORCHVISION, python, settings.pairs)
        for kind, goal in (("pil", TORCHVISION_GOAL), ("tensors", None)):
            names = [name for name in arms if f" {KINDS[kind]}," in name]
            fastest = min(names, key=lambda name: statistics.median(times[name]["cpu"]))
            results[f"i, {value}: ours / {fastest}"] = speed_ratio(
                times, "ours", fastest, goal=goal, unit="images"
            )
            (other,) = set(names) - {fastest}
            results[f"i, {value}: ours / {other}"] = speed_ratio(
                times, "ours", other, goal=None, unit="images"
            )
    return results


def require_ffcv(settings: Settings) -> Path:
    """Returns the interpreter of an environment with FFCV.

    Raises:
        SetupError: If there is none.
    """
    if settings.ffcv_python is None:
        raise SetupError(
            "row j needs an environment with FFCV",
            fix="--ffcv-python PYTHON; docs/benchmarks.md says how to build it",
        )
    return settings.ffcv_python


def ffcv(settings: Settings, folder: Path) -> dict[str, Any]:
    """Row j: speed of training batches from record files relative to FFCV's own files."""
    python = require_ffcv(settings)
    records, files = folder / f"records of {MAX_SIDE}", {}
    prepare_records(folder / "photographs", records, ["--max-side", str(MAX_SIDE)])
    for name, part in FILES.items():
        files[name] = str(folder / f"{part}.beton")
        words = ["write", str(folder / "photographs" / "train"), files[name], part]
        _write(python, words)
    numbers = [str(_images_per_turn(folder / "photographs")), str(BATCH_SIZE)]
    results = {}
    for value in VALUES:
        arms = {name: [value, file, *numbers] for name, file in files.items()}
        times = _take_turns(value, records, arms, FFCV, python, settings.pairs)
        for name, goal in zip(files, (FFCV_GOAL, None), strict=True):
            results[f"j, {value}: ours / {name}"] = speed_ratio(
                times, "ours", name, goal=goal, unit="images"
            )
    return results


def _take_turns(
    value: str,
    our_folder: Path,
    arms: Mapping[str, Sequence[str]],
    module: str,
    python: Path,
    pairs: int,
) -> dict[str, Times]:
    others = [
        functools.partial(Arm, name, module, words, core_of_arms(), python=python)
        for name, words in arms.items()
    ]
    return take_turns(OURS, {"ours": [value, str(our_folder)]}, pairs, others=others)


def _images_per_turn(photographs: Path) -> int:
    return images_per_turn(len(list(photographs.glob("train/*/*.jpg"))))


def _write(python: Path, words: Sequence[str]) -> None:
    script = Path(__file__).with_name("ffcv_arms.py")
    done = subprocess.run(
        [str(python), str(script), *words],
        env=environment(1, os.environ) | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HvdImgclsError(f"FFCV could not write its file:\n{done.stdout}{done.stderr}")
