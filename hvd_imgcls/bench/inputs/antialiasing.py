"""The rows f, g and h of `bench input`: accuracy, time and memory of antialiased decoding."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.inputs.pictures import size_of_width, write_pictures
from hvd_imgcls.bench.inputs.settings import Settings
from hvd_imgcls.bench.inputs.ways import BEFORE, DRAFT, FAST, KINDS, STORED, UPRIGHT
from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.measuring.ratio import alternating_order, ratio_of_pairs
from hvd_imgcls.bench.measuring.turns import take_turns, time_ratio

# Row f: longer sides in pixels. 991, 1982 and 3962 are the smallest whose central windows are
# decoded at 1/2, 1/4 and 1/8 of the size, where the error is largest.
WIDTHS = (300, 400, 500, 640, 800, 991, 1280, 1600, 1982, 2560, 3200, 3962, 4000)
MIN_PSNR = 40.0
# Row h: bytes above the output.
MAX_BYTES = 12e6
LARGE, SMALL = 4000, 500
# Pictures of every size: up to a million pixels, and above.
NUM_SMALL, NUM_LARGE = 8, 3
_MEMORY_RUNS = 3
# Row h: without oneDNN, TensorFlow allocates with malloc instead of from a pool that it keeps, and
# malloc returns blocks of 64 KiB or more to the system at once: mallopt(3).
EXACT_MEMORY = {"TF_ENABLE_ONEDNN_OPTS": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Pictures of row g.

    Attributes:
        width: Their longer side in pixels.
        variant: See `write_pictures`.
        number: Number of files.
        images: Images per turn.
        batch_size: Images per batch.
        goal: Maximum time, relative to that without antialiasing.
    """

    width: int
    variant: str = ""
    number: int
    images: int
    batch_size: int
    goal: float | None = None

    @property
    def name(self) -> str:
        """Size and variant."""
        height, width = size_of_width(self.width)
        return f"{width} x {height}" + (f" with {self.variant} data" if self.variant else "")


CASES = (
    Case(width=LARGE, number=NUM_LARGE, images=24, batch_size=8, goal=0.75),
    Case(width=SMALL, number=64, images=768, batch_size=64, goal=1.25),
    Case(width=SMALL, variant="EXIF", number=64, images=768, batch_size=64),
)
_ARMS = "hvd_imgcls.bench.inputs"


def accuracy(settings: Settings, folder: Path) -> dict[str, Any]:
    """Row f: PSNR of windows of 224 pixels against Pillow's antialiased resize."""
    pictures = folder / "accuracy"
    for width in WIDTHS:
        number = NUM_SMALL if width <= 1280 else NUM_LARGE
        write_pictures(pictures, width, number, data=settings.picture_data)
    found = _run("accuracy_arms", [str(pictures), "{result}"])
    results: dict[str, Any] = {}
    for size, by_kind in found.items():
        for kind, by_way in by_kind.items():
            values = {
                name: {"minimum": min(ratios), "median": statistics.median(ratios)}
                for name, ratios in by_way.items()
            }
            text = ", ".join(
                f"{name} {value['minimum']:.1f} / {value['median']:.1f}"
                for name, value in values.items()
            )
            name = f"f, {size} pixels, {kind} windows"
            results[name] = {"values": values, "text": f"{text} dB (minimum / median)"}
    least = min(result["values"][STORED]["minimum"] for result in results.values())
    results["f, smallest PSNR with antialiasing"] = {
        "psnr": least,
        "goal": f"at least {MIN_PSNR:g} dB",
        "reached": least >= MIN_PSNR,
        "text": f"{least:.2f} dB",
    }
    return results


def time(settings: Settings, folder: Path) -> dict[str, Any]:
    """Row g: CPU time of decoding, relative to that without antialiasing."""
    results = {}
    for case in CASES:
        pictures = write_pictures(
            folder / "time",
            case.width,
            case.number,
            data=settings.picture_data,
            variant=case.variant,
        )
        names = [BEFORE, UPRIGHT, STORED, DRAFT, *([FAST] if case.width == SMALL else [])]
        for kind in KINDS:
            numbers = [str(case.images), str(case.batch_size)]
            times = take_turns(
                f"{_ARMS}.antialias_arms",
                {name: [name, kind, str(pictures), *numbers] for name in names},
                settings.pairs,
            )
            where = f"g, {case.name}, {kind} windows"
            goals = {UPRIGHT: case.goal}
            for name in names[1:]:
                results[f"{where}: {name} / {BEFORE}"] = time_ratio(
                    times, name, BEFORE, goal=goals.get(name), unit="image"
                )
            results[f"{where}: cost of the EXIF check"] = time_ratio(
                times, UPRIGHT, STORED, goal=None, unit="image"
            )
            if FAST in names:
                results[f"{where}: cost of the accurate transform"] = time_ratio(
                    times, STORED, FAST, goal=None, unit="image"
                )
    return results


def memory(settings: Settings, folder: Path) -> dict[str, Any]:
    """Row h: peak memory above that of the result while a picture is decoded."""
    results = {}
    names = (BEFORE, UPRIGHT, DRAFT)
    for variant in ("", "progressive"):
        pictures = write_pictures(
            folder / "time", LARGE, NUM_LARGE, data=settings.picture_data, variant=variant
        )
        for kind in KINDS:
            runs: dict[str, list[float]] = {name: [] for name in names}
            for first, _ in alternating_order(_MEMORY_RUNS):
                for name in names if first == 0 else reversed(names):
                    words = [name, kind, str(pictures), "{result}"]
                    runs[name].append(max(_run("memory_arms", words, EXACT_MEMORY)))
            where = f"h, 12 megapixels{', progressive' if variant else ''}, {kind} windows"
            results[f"{where}: antialias / {BEFORE}"] = _memory_result(runs, has_goal=not variant)
    return results


def _memory_result(runs: dict[str, list[float]], *, has_goal: bool) -> dict[str, Any]:
    """Returns the ratio of the peaks, and whether the goal is reached."""
    ratio = ratio_of_pairs(runs[UPRIGHT], runs[BEFORE])
    peaks = {name: statistics.median(of_arm) for name, of_arm in runs.items()}
    text = ", ".join(f"{name} {peak / 1e6:.1f}" for name, peak in peaks.items())
    result: dict[str, Any] = {
        "ratio": ratio.to_json(),
        "bytes": peaks,
        "text": f"{ratio.describe()}; MB: {text}",
    }
    if has_goal:
        result["goal"] = f"at most {MAX_BYTES / 1e6:g} MB"
        result["reached"] = peaks[UPRIGHT] <= MAX_BYTES
    return result


def _run(module: str, words: list[str], variables: dict[str, str] | None = None) -> Any:
    return run_module(
        f"{_ARMS}.{module}", words, size=1, threads=1, timeout_seconds=1200, variables=variables
    )
