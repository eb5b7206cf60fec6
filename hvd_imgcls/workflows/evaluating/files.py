"""Writes the files of an evaluation: metrics, curves, and one row per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hvd_imgcls.data import ImageSource
from hvd_imgcls.files.atomic import replacing
from hvd_imgcls.files.json_files import write_json
from hvd_imgcls.metrics import Evaluated
from hvd_imgcls.metrics.curves import curves
from hvd_imgcls.metrics.examples import Examples
from hvd_imgcls.metrics.worst import notable_examples
from hvd_imgcls.run_directory.paths import EvaluationFiles


def with_examples(evaluated: Evaluated, source: ImageSource) -> dict[str, Any]:
    """Returns the metrics, with the names of notable images added."""
    if not evaluated.is_finite:
        return evaluated.metrics
    worst = notable_examples(evaluated.examples, source.class_names, _namer(source))
    return {**evaluated.metrics, **worst}


def write_evaluation(
    files: EvaluationFiles, evaluated: Evaluated, source: ImageSource
) -> dict[str, Any]:
    """Writes the files of an evaluation. Root only.

    If the model's outputs are NaN or infinite, only the metrics are written. There are no curves if
    the probabilities of all classes were not collected.

    Returns:
        The contents of the metrics file.
    """
    files.directory.mkdir(parents=True, exist_ok=True)
    metrics = with_examples(evaluated, source)
    write_json(files.metrics, metrics)
    if evaluated.rankings is None:
        # Those of an earlier evaluation, with other metrics.
        files.curves.unlink(missing_ok=True)
    else:
        write_json(files.curves, curves(evaluated.rankings, source.class_names))
    if evaluated.is_finite:
        table = predictions_table(evaluated.examples, source.class_names, _namer(source))
        with replacing(files.predictions) as partial:
            pq.write_table(table, partial)
    return metrics


def predictions_table(
    examples: Examples, class_names: Sequence[str], name_of: Callable[[int], str]
) -> pa.Table:
    """Returns one row per example, in order.

    Args:
        examples: All examples, in order.
        class_names: `[num_classes]`.
        name_of: Maps an example number to the name of its image.
    """
    names = pa.array(class_names, pa.string())
    return pa.table(
        {
            "example": examples.numbers,
            "image": pa.array([name_of(number) for number in examples.numbers.tolist()]),
            "label": names.take(pa.array(examples.labels)),
            "predicted": names.take(pa.array(examples.predicted)),
            "is_correct": examples.is_correct,
            "confidence": examples.confidences,
            "probability_of_label": examples.probabilities,
            "place_of_label": examples.places,
            "loss": examples.losses,
        }
    )


def _namer(source: ImageSource) -> Callable[[int], str]:
    """Returns a function that maps a held-out example's number to the name of its image."""
    return lambda number: source.id_of("held_out", number)
