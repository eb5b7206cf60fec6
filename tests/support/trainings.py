"""Short trainings, which together use everything that a run keeps between its steps."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.folders import open_folder
from tests.support.program import ROOT

_OFTEN = ("--checkpoint.every_steps=7", "--logging={tensorboard: false, report: false}")


@dataclass(frozen=True)
class Training:
    """A training with its moments.

    Attributes:
        options: Of the command, beginning with the pipeline if it is not the usual one.
        epochs: Number of epochs.
        batches: Batches of an epoch.
    """

    options: tuple[str, ...]
    epochs: int
    batches: int

    @property
    def moments(self) -> dict[str, str]:
        """Where a run is stopped, in the order of the run: `MOMENT:step=NUMBER` by name."""
        first, last = self.batches, self.epochs * self.batches
        return {
            "step 1": "before_step:step=1",
            "mid": f"before_step:step={first // 2}",
            "epoch edge": f"after_step:step={first}",
            "in evaluation": "evaluation:step=1",
            "last epoch": f"before_step:step={last - first // 2}",
            "last step": f"after_step:step={last}",
        }


def plain(folder: Path) -> Training:
    """Returns the digits with momentum and lookahead."""
    del folder
    options = (
        "--train.num_epochs=3",
        "--train.global_batch_size=48",
        "--train.lookahead={every_steps: 5}",
        "--evaluation.every_epochs=1",
        *_OFTEN,
    )
    return Training(options, epochs=3, batches=29)


def everything(folder: Path) -> Training:
    """Returns one with frozen layers, averages, several passes, and callbacks that decide."""
    del folder
    options = (
        "--train.num_epochs=3",
        "--train.global_batch_size=48",
        "--train.gradient_accumulation_steps=2",
        "--train.last_batch=weighted",
        "--train.non_finite=skip",
        "--train.ema={decay: 0.9}",
        "--train.lookahead={every_steps: 3}",
        "--schedule={name: constant, base_learning_rate: 0.1, warmup_epochs: 0}",
        "--fine_tuning.freeze=[{layers: [conv_1], epochs: 1}]",
        "--evaluation.every_epochs=1",
        "--callbacks=[{name: early_stopping, patience: 2, restore_best_weights: false}, "
        "{name: csv_logger}, "
        "{name: reduce_on_plateau, monitor: val_loss, patience: 1, min_delta: 0.2}]",
        *_OFTEN,
    )
    return Training(options, epochs=3, batches=60)


def pretrained(folder: Path) -> Training:
    """Returns one that begins without labels; its numbers are those of the pre-training."""
    del folder
    options = (
        str(ROOT / "pipelines" / "digits_cae.yaml"),
        "--model.num_filters=[4, 4]",
        "--pretraining.num_epochs=2",
        "--train.num_epochs=4",
        "--fine_tuning.freeze.0.epochs=1",
        "--schedule.warmup_epochs=0",
        *_OFTEN,
    )
    return Training(options, epochs=2, batches=23)


def quarantined(folder: Path) -> Training:
    """Returns one on JPEG files, of which some cannot be read."""
    images = folder / "images"
    if not images.exists():
        write_images(images)
        for name in ("cat/003.jpg", "dog/010.jpg", "dog/044.jpg"):
            (images / name).write_bytes(b"<html>")
    options = (
        f"--data.source={{name: image_folder, path: {images}, held_out_fraction: 0.2}}",
        "--data.bad_examples=quarantine",
        "--data.max_bad_fraction=0.5",
        "--callbacks=[{name: early_stopping, patience: 1}]",
        *_OF_FILES,
    )
    return Training(options, epochs=3, batches=12)


def vertical(folder: Path) -> Training:
    """Returns one on record files whose labels are in a table."""
    # Needs TensorFlow, unlike the tests that only start programs.
    from hvd_imgcls.workflows.prepare import prepare

    records, table = folder / "records", folder / "labels.csv"
    if not records.exists():
        write_images(folder / "sources")
        prepare(open_folder(folder / "sources"), records, examples_per_block=8)
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label"])
            for path in sorted((folder / "sources").glob("*/*.jpg")):
                name = path.relative_to(folder / "sources")
                writer.writerow([name, "odd" if int(path.stem) % 2 else "even"])
    options = (
        f"--data.source={{name: records, path: {records}}}",
        f"--data.placement={{name: vertical, table: {table}}}",
        *_OF_FILES,
    )
    return Training(options, epochs=3, batches=12)


_OF_FILES = (
    "--data.image_size=12",
    "--augment=[{name: random_resized_crop}, {name: random_flip}]",
    "--train.num_epochs=3",
    "--train.global_batch_size=12",
    "--train.last_batch=weighted",
    "--schedule={name: constant, base_learning_rate: 0.05, warmup_epochs: 0}",
    "--evaluation={every_epochs: 1, block_size: 8}",
    *_OFTEN,
)

TRAININGS: dict[str, Callable[[Path], Training]] = {
    one.__name__: one for one in (plain, everything, pretrained, quarantined, vertical)
}


def write_images(root: Path) -> None:
    """Writes 180 small JPEG files of two classes, with pixels that differ."""
    import PIL.Image

    random = np.random.default_rng(5)
    for label, name in enumerate(("cat", "dog")):
        os.makedirs(root / name)
        for number in range(90):
            pixels = random.integers(0, 120, (16, 16, 3)) + 100 * label
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:03}.jpg")
