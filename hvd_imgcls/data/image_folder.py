"""Image files in class folders."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from hvd_imgcls.config.sources import ImageFolderSource
from hvd_imgcls.data.folder_scan import Scan, scan_class_folders
from hvd_imgcls.data.source import EncodedSource, Numbers, Split
from hvd_imgcls.data.splitting import choose_held_out
from hvd_imgcls.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf


class ImageFolder(EncodedSource):
    """Class folders, split by folder or class by class.

    Args:
        config: Where they are and how they are split.

    Raises:
        ConfigError: If a folder cannot be read.
        DataError: If there is nothing in it, or the splits have other classes.
    """

    def __init__(self, config: ImageFolderSource) -> None:
        self._root = Path(config.path).expanduser()
        self._files: dict[Split, list[str]] = {}
        self._labels: dict[Split, Numbers] = {}
        self._left_out: Counter[str] = Counter()
        if config.train_folder is not None and config.held_out_folder is not None:
            self._take_folders(config.train_folder, config.held_out_folder)
        else:
            self._take_fractions(config.held_out_fraction, config.split_seed)

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the class folders, sorted by their bytes, printable whatever those are."""
        return tuple(_printable(name) for name in self._class_names)

    @property
    def notes(self) -> Sequence[str]:
        """Files left out, classes without a held-out image or with nearly the same name."""
        notes = []
        if self._left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self._left_out.most_common(5))
            notes.append(
                f"{self._left_out.total():,} files left out, no images by their names: {kinds}"
            )
        held_out = np.bincount(self._labels["held_out"], minlength=len(self._class_names))
        missing = [self.class_names[label] for label in np.flatnonzero(held_out == 0).tolist()]
        if missing:
            more = f" and {len(missing) - 1} more classes" if len(missing) > 1 else ""
            notes.append(f"no held-out image of {missing[0]}{more}")
        return notes + [
            f"two classes have nearly the same name: {one} and {other}"
            for one, other in _nearly_equal(self.class_names)
        ]

    @property
    def fingerprint(self) -> str:
        """Hash of the classes and of every file's name and split; not of what is in them."""
        hasher = xxhash.xxh3_64()
        for names in (self._class_names, *self._files.values()):
            for name in names:
                hasher.update(os.fsencode(name) + b"\0")
            hasher.update(b"\0")
        return hasher.hexdigest()

    def num_examples(self, split: Split) -> int:
        """Returns the number of image files of a split."""
        return len(self._files[split])

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every file, `[examples]`, int64."""
        return self._labels[split]

    def name_of(self, split: Split, example: int) -> str:
        """Returns the path of a file, printable whatever its bytes are."""
        return _printable(self.path_of(split, example))

    def path_of(self, split: Split, example: int) -> Path:
        """Returns the path of a file."""
        return self._root / self._files[split][example]

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from an example number to what its file holds."""
        import tensorflow as tf

        # Bytes: a name need not be text in any encoding.
        paths = tf.constant([os.fsencode(self._root / file) for file in self._files[split]])

        def read(example: tf.Tensor) -> tf.Tensor:
            return tf.io.read_file(tf.gather(paths, example))

        return read

    def _take_folders(self, train_folder: str, held_out_folder: str) -> None:
        train = scan_class_folders(self._root / train_folder, "data.source.train_folder")
        held_out = scan_class_folders(self._root / held_out_folder, "data.source.held_out_folder")
        unknown = [name for name in held_out.class_names if name not in set(train.class_names)]
        if unknown:
            raise DataError(
                f"{self._root / held_out_folder / unknown[0]}: no class of this name in "
                f"{self._root / train_folder}; the classes of both folders must have the same names"
            )
        self._class_names = tuple(train.class_names)
        folders: dict[Split, tuple[Scan, str]] = {
            "train": (train, train_folder),
            "held_out": (held_out, held_out_folder),
        }
        for split, (scan, folder) in folders.items():
            self._files[split], self._labels[split] = self._flatten(scan, folder + "/")
            self._left_out += scan.left_out

    def _take_fractions(self, held_out_fraction: float, split_seed: int) -> None:
        scan = scan_class_folders(self._root, "data.source.path")
        self._class_names = tuple(scan.class_names)
        self._left_out = scan.left_out
        files, labels = self._flatten(scan, "")
        is_held_out = choose_held_out(labels, held_out_fraction, split_seed)
        chosen_of: dict[Split, np.ndarray] = {"train": ~is_held_out, "held_out": is_held_out}
        for split, chosen in chosen_of.items():
            self._files[split] = [files[index] for index in np.flatnonzero(chosen)]
            self._labels[split] = labels[chosen]

    def _flatten(self, scan: Scan, prefix: str) -> tuple[list[str], Numbers]:
        label_of = {name: label for label, name in enumerate(self._class_names)}
        files = [prefix + file for of_class in scan.files for file in of_class]
        labels = [
            label_of[name]
            for name, of_class in zip(scan.class_names, scan.files, strict=True)
            for _ in of_class
        ]
        return files, np.array(labels, dtype=np.int64)


def _nearly_equal(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields names that differ only in upper and lower case or in how letters are composed."""
    first_of: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", name).casefold()
        if plain in first_of:
            yield first_of[plain], name
        first_of.setdefault(plain, name)


def _printable(path: str | Path) -> str:
    """Returns a path whose bytes need not be text as text."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
