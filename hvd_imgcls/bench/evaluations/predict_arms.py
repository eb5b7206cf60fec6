"""Started by `bench evaluate`: a prediction with a work queue, or with an equal division."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed, logs
from hvd_imgcls.bench.comparisons.training_rate import SECTIONS
from hvd_imgcls.config import RunConfig, parse_config
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.models import build_model
from hvd_imgcls.workflows.predict import predict_files
from hvd_imgcls.workflows.predicting.job import Job
from hvd_imgcls.workflows.predicting.rows import predict_pieces
from hvd_imgcls.workflows.predicting.work_queue import Rows
from hvd_imgcls.workflows.trained_model.loading import load_model_of_any_images

NUM_FILES, REPEATS, NUM_CLASSES, IMAGE_SHAPE = 256, 48, 10, (32, 32, 3)
_PIPELINE = """
data: {source: {name: image_folder, path: gone}, image_size: 32}
model: {name: resnet20}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""


class FixedShare:
    """A worker with a fixed set of pieces, the same number on every rank.

    Args:
        num_pieces: Number of pieces of all ranks.
        rank: This rank.
        size: Number of ranks.
    """

    def __init__(self, num_pieces: int, rank: int, size: int) -> None:
        self._pieces = iter(range(num_pieces * rank // size, num_pieces * (rank + 1) // size))

    def take(self) -> int | None:
        """Returns its next piece."""
        return next(self._pieces, None)

    def finish(self, piece: int, rows: Rows) -> None:
        """Keeps nothing."""


def write(folder: Path) -> None:
    """Writes small PNG files, a list that repeats them, and an untrained ResNet-20."""
    random = np.random.default_rng(0)
    files = []
    for number in range(NUM_FILES):
        pixels = random.integers(0, 256, IMAGE_SHAPE, dtype=np.uint8)
        file = folder / f"{number:03}.png"
        file.write_bytes(tf.io.encode_png(pixels).numpy())
        files.append(str(file))
    (folder / "list.txt").write_text("\n".join(files * REPEATS), encoding="utf-8")
    keras.utils.set_random_seed(0)
    build_model(SECTIONS["resnet20"], IMAGE_SHAPE, NUM_CLASSES).save(folder / "model.keras")


def main(words: list[str]) -> None:
    """Writes the inputs, or predicts them and writes the seconds of every rank."""
    result, arm, folder = words
    if arm == "write":
        write(Path(folder))
        Path(result).write_text("[]", encoding="utf-8")
        return
    config = parse_config(_PIPELINE, [], origin="bench")
    names = tuple(str(number) for number in range(NUM_CLASSES))
    images = Path(folder, "list.txt").read_text(encoding="utf-8").splitlines()
    job = Job(
        config=config,
        model_path=Path(folder, "model.keras"),
        class_names=names,
        top_k=1,
        out_path=Path(folder, "out.csv"),
    )
    ranks = distributed.start()
    if arm == "pieces":
        seconds = [predict_files(job, ["-"], images, verbosity=logs.Verbosity.QUIET)["seconds"]]
    else:
        seconds = ranks.gather_json(_predict_share(job, config, images, ranks))
    if ranks.topology.is_root:
        Path(result).write_text(json.dumps(seconds), encoding="utf-8")
    ranks.barrier()


def _predict_share(
    job: Job, config: RunConfig, images: list[str], ranks: distributed.Collectives
) -> float:
    """Returns the seconds of this rank's part."""
    topology = ranks.topology
    distributed.devices.configure(
        intra_op_threads=1, inter_op_threads=1, local_rank=topology.local_rank
    )
    model, image_shape = load_model_of_any_images(job.model_path, NUM_CLASSES)
    labels: dict[Split, Numbers] = {
        "held_out": np.zeros(len(images), np.int64),
        "train": np.zeros(0, np.int64),
    }
    files: dict[Split, list[str]] = {"held_out": images, "train": []}
    source = FileSource(Path(), job.class_names, files, labels, [])
    worker = FixedShare(-(-len(images) // job.piece_size), topology.rank, topology.size)
    ranks.barrier()
    begin = time.perf_counter()
    for piece, rows in predict_pieces(job, model, source, image_shape, worker, num_threads=1):
        worker.finish(piece, rows)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(sys.argv[1:])
