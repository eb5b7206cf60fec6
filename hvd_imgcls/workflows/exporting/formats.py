"""Additional export formats, TFLite (LiteRT) and ONNX: written by Keras, run for verification."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.errors import CheckpointError, SetupError, first_line
from hvd_imgcls.workflows.exporting.onnx_operations import teach_operations

Run = Callable[[Path, npt.NDArray[np.float32]], npt.NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class Format:
    """An export format.

    Attributes:
        file_name: Name of the file.
        packages: Packages required to write and verify it, in addition to TensorFlow.
        run: From the file and pixels, `[examples, height, width, channels]`, to logits.
    """

    file_name: str
    packages: tuple[str, ...]
    run: Run


def require_packages(names: Sequence[str]) -> None:
    """Checks that the packages for the given formats are installed.

    Raises:
        SetupError: If one is missing.
    """
    for name in names:
        missing = [p for p in FORMATS[name].packages if importlib.util.find_spec(p) is None]
        if missing:
            raise SetupError(
                f"the format {name} requires {' and '.join(missing)}",
                fix=f"pip install {' '.join(missing)}",
            )


def write(model: keras.Model, name: str, directory: Path) -> Path:
    """Writes a model that computes in float32, and returns the file.

    Raises:
        CheckpointError: If it cannot be converted.
    """
    path = directory / FORMATS[name].file_name
    if name == "onnx":
        teach_operations()
    try:
        with _without_warnings():
            _in_float32(model).export(path, format=name, verbose=False)
    except Exception as error:  # Converters raise arbitrary exceptions.
        raise CheckpointError(
            f"{path}: Keras and TensorFlow cannot convert this model "
            f"({first_line(error)}); omit --format {name}"
        ) from error
    return path


def logits_of(name: str, path: Path, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.floating]:
    """Returns the logits of an exported model, `[examples, num_classes]`.

    Args:
        name: The format.
        path: The file.
        pixels: `[examples, height, width, channels]`.

    Raises:
        CheckpointError: If it cannot be run.
    """
    try:
        with _without_warnings():
            return FORMATS[name].run(path, pixels.astype(np.float32))
    except Exception as error:  # Runtimes raise arbitrary exceptions.
        raise CheckpointError(
            f"{path}: was written, but cannot be run ({first_line(error)}); omit --format {name}"
        ) from error


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppresses warnings of these packages that are meant for developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _in_float32(model: keras.Model) -> keras.Model:
    """Returns a copy of the model that computes in float32: no format supports bfloat16."""
    text = model.to_json()
    lower = [f'"mixed_{name}"' for name in ("bfloat16", "float16") if f'"mixed_{name}"' in text]
    if not lower:
        return model
    for policy in lower:
        text = text.replace(policy, '"float32"')
    copy: keras.Model = keras.models.model_from_json(text)
    copy.set_weights(model.get_weights())
    # Keras exports a model to ONNX only after it has been called.
    copy(np.zeros((1, *model.input_shape[1:]), np.float32), training=False)
    return copy


def _run_litert(path: Path, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    place_in, place_out = (
        details[0]["index"]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    logits = []
    for image in pixels:
        interpreter.set_tensor(place_in, image[np.newaxis])
        interpreter.invoke()
        logits.append(interpreter.get_tensor(place_out))
    return np.concatenate(logits)


def _run_onnx(path: Path, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[np.newaxis]})[0] for image in pixels])


FORMATS = {
    "litert": Format("model.tflite", (), _run_litert),
    "onnx": Format("model.onnx", ("tf2onnx", "onnx", "onnxruntime"), _run_onnx),
}
