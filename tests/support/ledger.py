"""Which images a run was really trained on, written down by every rank, and the account of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LEDGER = "HVD_IMGCLS_LEDGER"


def keep_ledger(directory: str) -> None:
    """Writes the images of every batch of this process to a file of its own.

    The batch is that which the step function receives, not that which a position promises.
    """
    from hvd_imgcls.commands import train
    from tests.support.fault_injection import after

    Path(directory).mkdir(exist_ok=True, parents=True)
    rank = os.environ.get("HOROVOD_RANK", "0")
    path = Path(directory, f"rank-{rank}.jsonl")
    after(train, "import_tensorflow_quietly", lambda *_: _install(path))


def _install(path: Path) -> None:
    from hvd_imgcls.keras.synchronization.clocks import BatchClock
    from hvd_imgcls.workflows.training.one_training import OneTraining
    from tests.support.fault_injection import before

    now: dict[str, int] = {}

    def note_position(training: Any, *_: Any) -> None:
        position = training._position
        now.update(epoch=position.epoch, batch=position.batch_in_epoch)

    def write_down(batch: Any) -> None:
        images, _, weights = (np.asarray(one) for one in batch)
        line = {**now, "images": digests(images[weights > 0])}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def wrap(clock: Any, model: Any) -> None:
        plain = model.train_function
        if plain is not clock._function and not hasattr(plain, "is_written_down"):
            model.train_function = _written_down(plain, write_down)

    before(OneTraining, "on_train_batch_begin", note_position)
    before(BatchClock, "start", wrap)


def _written_down(plain: Any, write_down: Callable[[Any], None]) -> Any:
    def function(iterator: Iterator[Any]) -> Any:
        batch = next(iterator)
        write_down(batch)
        return plain(iter((batch,)))

    function.is_written_down = True  # type: ignore[attr-defined]
    return function


def digests(images: Any) -> list[str]:
    """Returns a digest of the pixels of each image, `[images, height, width, channels]`."""
    pixels = np.asarray(images).astype(np.uint8)
    return [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in pixels]


def account(launches: Sequence[tuple[Path, int]]) -> dict[int, list[Counter[str]]]:
    """Returns how often each image was trained on, for each epoch, in each of its global batches.

    A batch that was trained again after a fault must have been the same batch: else this fails.

    Args:
        launches: The directory and the number of ranks of every launch.
    """
    batches: dict[tuple[int, int], Counter[str]] = {}
    for directory, size in launches:
        for key, parts in sorted(_of_launch(directory).items()):
            whole = sum(parts, Counter())
            if len(parts) < size:
                # Some ranks were killed before they began with it.
                assert key not in batches or whole <= batches[key], key
                continue
            assert batches.setdefault(key, whole) == whole, f"another batch {key} than before"
    epochs: dict[int, list[Counter[str]]] = {}
    for (epoch, batch), images in sorted(batches.items()):
        epochs.setdefault(epoch, []).append(images)
        assert len(epochs[epoch]) == batch + 1, f"a batch is missing before {epoch, batch}"
    return epochs


def _of_launch(directory: Path) -> dict[tuple[int, int], list[Counter[str]]]:
    parts: dict[tuple[int, int], list[Counter[str]]] = {}
    for path in sorted(directory.glob("*.jsonl")):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            parts.setdefault((line["epoch"], line["batch"]), []).append(Counter(line["images"]))
    return parts
