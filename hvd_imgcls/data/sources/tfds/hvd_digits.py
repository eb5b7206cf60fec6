"""The digits of scikit-learn as a dataset of TensorFlow Datasets; nothing is downloaded."""

from __future__ import annotations

import contextlib
import fcntl
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.sources.digits import Digits


class HvdDigits(tfds.core.GeneratorBasedBuilder):
    """1,797 scanned digits of 8 by 8 pixels, a fifth of every class in the split `test`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Initial release."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=list("0123456789")),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager
        return {
            "train": self._generate_examples("train"),
            "test": self._generate_examples("held_out"),
        }

    def _generate_examples(self, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        digits = Digits(held_out_fraction=0.2, split_seed=0)
        # Maps scikit-learn's 17 grey levels to 256, as the source `digits` does.
        pairs = zip(digits.images(split), digits.labels(split).tolist(), strict=True)
        for number, (image, label) in enumerate(pairs):
            yield number, {"image": image, "label": label}


def write_digits(data_dir: Path, file_format: str = "tfrecord") -> None:
    """Writes the dataset if it is missing. Safe to call from several processes.

    Args:
        data_dir: Data directory of TensorFlow Datasets.
        file_format: `tfrecord` or `array_record`.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / ".hvd_digits.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        builder = HvdDigits(data_dir=data_dir, file_format=file_format)
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
