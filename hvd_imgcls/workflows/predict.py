"""`hvd-imgcls predict`: classifies many images with a trained model."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import to_tree
from hvd_imgcls.config.image_sizes import require_size_for_views
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.doctor.machine import ipv4_addresses
from hvd_imgcls.errors import BadImagesError, alike_on_all_ranks
from hvd_imgcls.failures import process_state
from hvd_imgcls.workflows.predicting.inputs import list_images
from hvd_imgcls.workflows.predicting.job import Job
from hvd_imgcls.workflows.predicting.journal import Journal
from hvd_imgcls.workflows.predicting.output import Prediction, write_predictions
from hvd_imgcls.workflows.predicting.progress import ProgressLines
from hvd_imgcls.workflows.predicting.rows import predict_pieces
from hvd_imgcls.workflows.predicting.table import prediction_table
from hvd_imgcls.workflows.predicting.work_queue import Rows, WorkQueue
from hvd_imgcls.workflows.predicting.work_queue_server import worker_of
from hvd_imgcls.workflows.startup.ranks import join_ranks
from hvd_imgcls.workflows.trained_model.loading import digest_of_model, load_model_of_any_images

logger = logging.getLogger(__name__)


def predict_files(
    job: Job,
    words: Sequence[str],
    lines: Iterable[str],
    *,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
) -> dict[str, Any]:
    """Predicts the classes of images and writes them in input order.

    The ranks take small pieces of work from a queue on the root. Finished pieces are kept in a
    journal next to the output file until it is complete; a restarted prediction resumes from it.

    Collective: every rank must call this with equal arguments; only the root's `lines` are used.

    Args:
        job: What to predict.
        words: Files, folders, glob patterns; `-` for the lines.
        lines: One path each.
        verbosity: How much is logged.

    Returns:
        Number of images, number of unreadable images, the first error, seconds, images by rank,
        and without an output file the lines of the `table`.

    Raises:
        DataError: If a folder or pattern contains no image.
        CheckpointError: If the file is not a model, or one for other images or classes.
        ConfigError: If the journal at this place belongs to a different prediction.
        BadImagesError: If no image has a prediction; the output is still written.
    """
    # Set up ranks and logging.
    ranks = join_ranks(verbosity)
    collectives, threads = ranks.collectives, ranks.threads

    # Agree on the inputs.
    distributed.agreement.require_same(
        collectives,
        {
            "configuration": to_tree(job.config),
            "model": digest_of_model(job.model_path),
            "classes": list(job.class_names),
        },
        "use the same files on every rank",
    )
    images = distributed.agreement.on_root(collectives, lambda: list_images(words, lines))
    with alike_on_all_ranks():
        model, image_shape = load_model_of_any_images(
            job.model_path, len(job.class_names), is_trusted=job.is_trusted
        )
        require_size_for_views(job.config.evaluation.views, image_shape)
    journal = _open_journal(job, images, collectives)
    pieces = None if journal is None else _make_pieces(job, journal, len(images))

    # Predict piece by piece.
    worker, server = worker_of(collectives, pieces, _own_addresses)
    begin = time.perf_counter()
    source = FileSource(
        Path(), job.class_names, {"held_out": images, "train": []}, _no_labels(len(images)), []
    )
    for piece, rows in predict_pieces(
        job, model, source, image_shape, worker, num_threads=threads.data
    ):
        worker.finish(piece, rows)
    if pieces is not None:
        pieces.wait()
    seconds = time.perf_counter() - begin
    if server is not None:
        server.close()

    # Write the results.
    result: dict[str, Any] = distributed.agreement.on_root(
        collectives, lambda: _conclude(job, images, journal, seconds) if journal else None
    )
    for line in describe_prediction(result):
        logger.log(logs.RESULT, "%s", line)
    collectives.barrier()
    if result["num_images"] == result["num_unreadable"]:
        raise BadImagesError(
            f"none of the {result['num_images']:,} images has a prediction; "
            + (f"the column error of {job.out_path} says why, " if job.out_path else "")
            + f"the first error is: {result['first_error']}"
        )
    return result


def describe_prediction(result: dict[str, Any]) -> list[str]:
    """Returns the lines that report the result."""
    unreadable = result["num_unreadable"]
    where = ": see the column error" if result["out"] is not None else ""
    bad = f", {unreadable:,} of them unreadable{where}" if unreadable else ""
    shares = ", ".join(
        f"rank {rank}: {number:,}" for rank, number in result["images_by_rank"].items()
    )
    lines = [f"{result['num_images']:,} images{bad}, in {result['seconds']:.1f} s"]
    if result["out"] is not None:
        lines += [f"images by rank: {shares}", f"written to {result['out']}"]
    return lines


def _open_journal(
    job: Job, images: Sequence[str], collectives: distributed.Collectives
) -> Journal | None:
    """Returns the root's journal, None on other ranks; raises on all if it fails. Collective."""
    opened: list[Journal] = []

    def action() -> None:
        listed = hashlib.sha256("\0".join(images).encode("utf-8", "surrogateescape"))
        described = {
            "images": listed.hexdigest(),
            "model": digest_of_model(job.model_path),
            "options": [
                job.top_k,
                job.config.evaluation.views,
                job.config.evaluation.crop_fraction,
                job.piece_size,
                *job.class_names,
            ],
        }
        out = job.out_path
        path = None if out is None else out.with_name(f".{out.name}.progress")
        opened.append(Journal(path, described))
        if path is not None:
            process_state.remains = f"the same command continues: what is done is in {path}"
        if opened[0].rows:
            done = sum(map(len, opened[0].rows.values()))
            logger.info("resuming: %s images are already predicted", f"{done:,}")

    distributed.agreement.on_root(collectives, action)
    return opened[0] if opened else None


def _make_pieces(job: Job, journal: Journal, num_images: int) -> WorkQueue:
    """Returns the queue of remaining pieces, which journals their results. Root only."""
    progress = ProgressLines(num_images, job.piece_size)
    progress.start(len(journal.rows))

    def keep(piece: int, rank: int, rows: Rows) -> None:
        journal.keep(piece, rank, rows)
        progress.advance(len(rows))

    return WorkQueue(-(-num_images // job.piece_size), journal.rows.keys(), keep)


def _no_labels(number: int) -> dict[Any, npt.NDArray[np.int64]]:
    return {"held_out": np.zeros(number, np.int64), "train": np.zeros(0, np.int64)}


def _conclude(job: Job, images: Sequence[str], journal: Journal, seconds: float) -> dict[str, Any]:
    """Writes the predictions and deletes the journal. Root only."""
    rows = [row for piece in sorted(journal.rows) for row in journal.rows[piece]]
    predictions = [
        _prediction(image, row, job.class_names) for image, row in zip(images, rows, strict=True)
    ]
    if job.out_path is not None:
        write_predictions(job.out_path, predictions, job.top_k)
    by_rank: dict[str, int] = {}
    for piece, rank in journal.ranks.items():
        by_rank[str(rank)] = by_rank.get(str(rank), 0) + len(journal.rows[piece])
    journal.remove()
    return {
        "num_images": len(images),
        "num_unreadable": sum(one.error is not None for one in predictions),
        "first_error": next((o.error for o in predictions if o.error is not None), None),
        "seconds": round(seconds, 3),
        "images_by_rank": dict(sorted(by_rank.items(), key=lambda item: int(item[0]))),
        "out": None if job.out_path is None else str(job.out_path),
        "table": [] if job.out_path else list(prediction_table(predictions, job.top_k)),
    }


def _prediction(image: str, row: Any, class_names: Sequence[str]) -> Prediction:
    if isinstance(row, str):
        return Prediction(image, error=row)
    classes, probabilities = row
    return Prediction(image, tuple(class_names[c] for c in classes), tuple(probabilities))


def _own_addresses() -> list[str]:
    return [address for _, address in ipv4_addresses()]
