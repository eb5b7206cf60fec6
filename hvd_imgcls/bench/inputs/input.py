"""`bench input`: the cost of reading images, on one core against baselines on the same core.

- a: batches of random resized crops from JPEG files / bare decoding of the same files.
- b: the same from record files / from individual files.
- c: small images augmented in whole batches / one by one, as usual.
- d: a training step on real data / on synthetic data in memory.
- e: the exact order of an epoch / `shuffle` of tf.data: time and memory.
- f: how close decoded windows are to Pillow's antialiased resize of the whole image.
- g: CPU time of decoding a window with antialiasing / without, as before.
- h: memory while one picture of 12 megapixels is decoded.
- i: training batches from JPEG files / torchvision's transforms in a DataLoader.
- j: training batches from record files / FFCV from its own files.

In a to d, g, i and j every arm is a separate process. They take turns on one core, keep their
iterators, and a turn ends when all prefetching has finished. Wall-clock and CPU time are
reported; goals refer to CPU time, which is less affected by other programs on the machine.
"""

from __future__ import annotations

import importlib.util
import logging
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.inputs import antialiasing, loaders
from hvd_imgcls.bench.inputs.photographs import link_photographs, write_synthetic
from hvd_imgcls.bench.inputs.settings import OTHER_ROWS, Settings
from hvd_imgcls.bench.measuring.launching import prepare_records, run_module
from hvd_imgcls.bench.measuring.ratio import alternating_order, ratio_of_pairs
from hvd_imgcls.bench.measuring.turns import core_of_arms, speed_ratio, take_turns, time_ratio
from hvd_imgcls.errors import SetupError

logger = logging.getLogger(__name__)

# Row d: steps per turn, for some seconds of work.
STEPS = {"digits_cnn": 600, "cifar10_small_cnn": 40}
# Row e: ImageNet's number of images, and a number that must still fit into memory.
NUM_EXAMPLES, MANY_EXAMPLES = 1_300_000, 100_000_000
_PIPELINES = Path(__file__).parents[3] / "pipelines"


def run(settings: Settings) -> dict[str, Any]:
    """Measures the rows and returns their ratios, rates and conditions.

    Args:
        settings: What to measure, and on which data.

    Raises:
        SetupError: If a package is not installed.
        DataError: If a folder has too few images.
    """
    if "a" in settings.only and importlib.util.find_spec("simplejpeg") is None:
        raise SetupError(
            "simplejpeg, the baseline decoder of row a, is not installed",
            fix="pip install 'hvd_imgcls[bench]', or pip install simplejpeg; "
            "or skip the row: --only b c d e f g h",
        )
    if "j" in settings.only:
        loaders.require_ffcv(settings)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as directory:
        folder = Path(directory)
        if {"a", "b", *OTHER_ROWS} & set(settings.only):
            results["photographs"] = _prepare_photographs(settings.data, folder)
            logger.info("%s", results["photographs"])
        for line in settings.only:
            for name, result in _LINES[line](settings, folder).items():
                results[name] = result
                logger.log(logs.RESULT, "%s: %s", name, result["text"])
                if "goal" in result:
                    verdict = "reached" if result["reached"] else "MISSED"
                    logger.info("    goal: %s: %s", result["goal"], verdict)
    return results


def decoding(settings: Settings, folder: Path) -> dict[str, Any]:
    """Line a."""
    times = take_turns(
        "hvd_imgcls.bench.inputs.decoding_arms",
        {name: [name, str(folder / "photographs")] for name in ("simplejpeg", "uint8", "float")},
        settings.pairs,
    )
    return {
        f"a, {ours} batches / simplejpeg": speed_ratio(
            times, ours, "simplejpeg", goal=goal, unit="images"
        )
        for ours, goal in (("uint8", 0.95), ("float", 0.88))
    }


def records(settings: Settings, folder: Path) -> dict[str, Any]:
    """Line b."""
    prepare_records(folder / "photographs", folder / "records")
    times = take_turns(
        "hvd_imgcls.bench.inputs.decoding_arms",
        {
            "record files": ["uint8", str(folder / "records")],
            "loose files": ["uint8", str(folder / "photographs")],
        },
        settings.pairs,
    )
    result = speed_ratio(times, "record files", "loose files", goal=1.0, unit="images")
    return {"b, record files / loose files": result}


def small_images(settings: Settings, folder: Path) -> dict[str, Any]:
    """Line c."""
    del folder
    names = ("in batches", "one by one")
    times = take_turns(
        "hvd_imgcls.bench.inputs.small_image_arms", {name: [name] for name in names}, settings.pairs
    )
    return {"c, in batches / one by one": speed_ratio(times, *names, goal=10.0, unit="images")}


def steps(settings: Settings, folder: Path) -> dict[str, Any]:
    """Line d."""
    del folder
    results = {}
    for pipeline, number in STEPS.items():
        path = _PIPELINES / f"{pipeline}.yaml"
        if not path.exists():
            raise SetupError(
                f"{path} does not exist", fix="run the benchmark in a checkout of hvd_imgcls"
            )
        of_cifar = [str(settings.cifar)] if settings.cifar and "cifar10" in pipeline else []
        times = take_turns(
            "hvd_imgcls.bench.inputs.fit_arms",
            {name: [name, str(path), str(number), *of_cifar] for name in ("real", "synthetic")},
            settings.pairs,
        )
        results[f"d, {pipeline}: step on real / synthetic data"] = time_ratio(
            times, "real", "synthetic", goal=1.03
        )
    return results


def order(settings: Settings, folder: Path) -> dict[str, Any]:
    """Line e."""
    del folder
    names = ("ours", "shuffle")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for pair in alternating_order(max(3, settings.pairs // 2)):
        for arm in pair:
            runs[names[arm]].append(_order_of(names[arm], NUM_EXAMPLES, num_batches=0))
    results = {}
    for what, unit in (("cpu", "CPU s"), ("megabytes", "MB")):
        values = {name: [one[what] for one in runs[name]] for name in names}
        ratio = ratio_of_pairs(values["ours"], values["shuffle"])
        text_of_arms = ", ".join(f"{name} {statistics.median(values[name]):,.2f}" for name in names)
        results[f"e, order of {NUM_EXAMPLES:,}: {what}, ours / shuffle"] = {
            "ratio": ratio.to_json(),
            "goal": "at most 1",
            "reached": ratio.value <= 1,
            "text": f"{ratio.describe()}; {unit}: {text_of_arms}",
            "runs": runs,
        }
    many = _order_of("ours", MANY_EXAMPLES, num_batches=1)
    results[f"e, order of {MANY_EXAMPLES:,}, ours"] = {
        "text": f"first batch after {many['first batch']:.1f} s, {many['megabytes']:,.0f} MB",
        **many,
    }
    return results


_LINES: Mapping[str, Callable[[Settings, Path], dict[str, Any]]] = {
    "a": decoding,
    "b": records,
    "c": small_images,
    "d": steps,
    "e": order,
    "f": antialiasing.accuracy,
    "g": antialiasing.time,
    "h": antialiasing.memory,
    "i": loaders.torchvision,
    "j": loaders.ffcv,
}


def _prepare_photographs(data: Path | None, folder: Path) -> str:
    """Writes the images for rows a, b, i and j to `photographs`; returns a description."""
    origin = "JPEG files of " + str(data)
    if data is None:
        origin = "synthetic JPEG files of about 500 x 375 pixels"
        data = folder / "made-up"
        data.mkdir()
        logger.info("generating JPEG files ...")
        write_synthetic(data)
    number = link_photographs(data.expanduser(), folder / "photographs")
    sizes = [path.stat().st_size for path in (folder / "photographs").glob("train/*/*")]
    return f"{number} {origin}, {sum(sizes) / number / 1e3:.0f} kB on average"


def _order_of(arm: str, num_examples: int, *, num_batches: int) -> dict[str, float]:
    numbers: dict[str, float] = run_module(
        "hvd_imgcls.bench.inputs.order_arms",
        [str(core_of_arms()), arm, str(num_examples), str(num_batches), "{result}"],
        size=1,
        threads=1,
        timeout_seconds=600,
    )
    return numbers
