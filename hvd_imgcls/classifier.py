"""A trained classifier in Python: `from hvd_imgcls import load`."""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.commands.arguments.model_argument import Trained, find_trained
from hvd_imgcls.errors import BadImagesError, ConfigError

if TYPE_CHECKING:
    import keras

Image = str | Path | bytes | npt.NDArray[np.uint8]


def load(
    path: str | Path,
    *,
    pipeline: str | Path | None = None,
    classes: str | Path | None = None,
    trust_model: bool = False,
) -> Classifier:
    """Loads a trained classifier: a model with the preprocessing and the classes of its run.

    Args:
        path: A run directory, or a `.keras` file.
        pipeline: Pipeline file that defines the preprocessing. Default: that of the run.
        classes: File with the class names. Default: those of the run.
        trust_model: Whether to load a model file that contains code.

    Raises:
        CheckpointError: If there is no such model, or it does not fit.
        ConfigError: If its preprocessing or its classes are unknown.
    """
    trained = find_trained(
        argparse.Namespace(
            target=Path(path),
            pipeline=pipeline,
            classes=None if classes is None else Path(classes),
            ema=None,
            overrides=[],
        )
    )
    return Classifier(trained, is_trusted=trust_model)


class Classifier:
    """A trained image classifier, as returned by `load`.

    Not collective: predicts in this process alone.

    Args:
        trained: The model.
        is_trusted: Whether to load code in the model file.
    """

    def __init__(self, trained: Trained, *, is_trusted: bool = False) -> None:
        from hvd_imgcls.workflows.trained_model.loading import load_model_of_any_images

        self.class_names = trained.require_class_names()
        """Class names, `[num_classes]`."""
        self.config = trained.config
        """The configuration that defines the preprocessing."""
        self._trained, self._is_trusted = trained, is_trusted
        loaded = load_model_of_any_images(
            trained.model_path, len(self.class_names), is_trusted=is_trusted
        )
        self.model: keras.Model = loaded[0]
        """From preprocessed images `[batch, height, width, channels]` to logits."""
        self.image_shape: tuple[int, int, int] = loaded[1]
        """Height, width and channels of the preprocessed images."""

    def predict(self, images: Image | Sequence[Image], *, batch_size: int = 32) -> npt.NDArray[Any]:
        """Returns the most probable class of every image, `[num_images]`, strings.

        See `predict_proba`.
        """
        best = self.predict_proba(images, batch_size=batch_size).argmax(axis=1)
        predicted: npt.NDArray[Any] = np.array(self.class_names)[best]
        return predicted

    def predict_proba(
        self, images: Image | Sequence[Image], *, batch_size: int = 32
    ) -> npt.NDArray[np.float64]:
        """Returns the probabilities of the classes, `[num_images, num_classes]`, float64.

        The same values as those of `hvd-imgcls predict`.

        Args:
            images: One or more of: paths of files or folders, glob patterns, contents of image
                files (bytes), or pixels, uint8, `[height, width]` or `[height, width, 1 or 3]` of
                any size. The images of a folder are in the order of their names.
            batch_size: Images per batch, at least 1.

        Raises:
            BadImagesError: Naming the images that cannot be read.
            ConfigError: If an array is of another type or shape.
            DataError: If a folder or pattern contains no image.
        """
        with tempfile.TemporaryDirectory() as folder:
            rows = self._rows(_paths_of(images, Path(folder)), folder, batch_size)
        probabilities = np.empty((len(rows), len(self.class_names)))
        for number, (of_classes, values) in enumerate(rows):
            probabilities[number, of_classes] = values
        return probabilities

    def _rows(self, paths: Sequence[str], own: str, batch_size: int) -> list[Any]:
        """Returns classes and probabilities; `own` is the folder of images without files."""
        from hvd_imgcls.data.sources.file_source import FileSource
        from hvd_imgcls.workflows.predicting.job import Job
        from hvd_imgcls.workflows.predicting.rows import predict_pieces
        from hvd_imgcls.workflows.predicting.work_queue import RootWorker, WorkQueue

        job = Job(
            config=self.config,
            model_path=self._trained.model_path,
            class_names=self.class_names,
            top_k=len(self.class_names),
            out_path=None,
            piece_size=batch_size,
            is_trusted=self._is_trusted,
        )
        none = np.zeros(0, np.int64)
        labels: dict[Any, Any] = {"held_out": np.zeros(len(paths), np.int64), "train": none}
        images: dict[Any, Any] = {"held_out": list(paths), "train": []}
        source = FileSource(Path(), self.class_names, images, labels, [])
        worker = RootWorker(WorkQueue(-(-len(paths) // batch_size), (), lambda *_: None))
        rows: list[Any] = []
        for piece, of_piece in predict_pieces(
            job,
            self.model,
            source,
            self.image_shape,
            worker,
            num_threads=len(os.sched_getaffinity(0)),
        ):
            rows += of_piece
            worker.finish(piece, of_piece)
        bad = [
            f"{os.path.basename(path) if path.startswith(own) else path}: {row}"
            for path, row in zip(paths, rows, strict=True)
            if isinstance(row, str)
        ]
        if bad:
            more = f"; and {len(bad) - 3:,} more" if len(bad) > 3 else ""
            raise BadImagesError("; ".join(bad[:3]) + more)
        return rows


def _paths_of(images: Any, folder: Path) -> list[str]:
    """Returns the files of images, in order; those that have none are written to a folder."""
    from hvd_imgcls.workflows.predicting.inputs import list_images

    is_one = isinstance(images, str | Path | bytes) or getattr(images, "ndim", 4) <= 3
    paths: list[str] = []
    for number, image in enumerate([images] if is_one else images):
        if isinstance(image, str | Path):
            paths += list_images([str(image)], [])
            continue
        path = folder / f"images[{number}]"
        path.write_bytes(image if isinstance(image, bytes) else _as_png(image, number))
        paths.append(str(path))
    return paths


def _as_png(pixels: Any, number: int) -> bytes:
    import PIL.Image

    array = np.asarray(pixels)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 3)
    if array.dtype != np.uint8 or not is_image or not array.size:
        raise ConfigError(
            f"images[{number}]",
            got=f"{array.dtype} of shape {list(array.shape)}",
            expected="uint8 pixels, [height, width] or [height, width, 1 or 3]",
            fix="pass pixels from 0 to 255 as uint8, or paths",
        )
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "png", compress_level=0)
    return buffer.getvalue()
