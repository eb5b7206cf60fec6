"""A source of image files, one per example."""

from __future__ import annotations

import functools
import json
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import EncodedSource
from hvd_imgcls.data.sources.content_sample import sample_of_files
from hvd_imgcls.data.sources.special_files import special_files
from hvd_imgcls.text.printable import printable

if TYPE_CHECKING:
    import tensorflow as tf


class FileSource(EncodedSource):
    """A list of image files with labels.

    Args:
        root: Folder that the files are relative to.
        class_names: Name of every class; may contain bytes that are not valid text.
        files: Files of each split.
        labels: Their labels, `[examples]`, int64.
        notes: Remarks about the data for the user.
        columns: Additional columns of each split's files.
        is_split_at_random: Whether a random fraction is held out, rather than given images.
    """

    def __init__(
        self,
        root: Path,
        class_names: Sequence[str],
        files: Mapping[Split, Sequence[str]],
        labels: Mapping[Split, Numbers],
        notes: Sequence[str],
        columns: Mapping[Split, Mapping[str, Sequence[str | None]]] | None = None,
        *,
        is_split_at_random: bool = False,
    ) -> None:
        self.is_split_at_random = is_split_at_random
        self._root = root
        self._columns = columns or {}
        self._class_names = tuple(class_names)
        self._files = files
        self._labels = labels
        self._special: dict[Split, dict[int, str]] = {}
        self._notes = (*notes, *self._notes_on_classes())

    @property
    def class_names(self) -> Sequence[str]:
        """Class names, with bytes that are not printable escaped."""
        return tuple(printable(name) for name in self._class_names)

    @property
    def notes(self) -> Sequence[str]:
        """Left-out files, classes without images in a split, and near-duplicate class names."""
        return self._notes

    @property
    def fingerprint(self) -> str:
        """Hash of the classes and of every file's name, label and split, but not its content."""
        hasher = xxhash.xxh3_64()
        for names in (self._class_names, *self._files.values()):
            for name in names:
                hasher.update(os.fsencode(name) + b"\0")
            hasher.update(b"\0")
        for of_split in self._columns.values():
            hasher.update(json.dumps(of_split, sort_keys=True).encode())
        for labels in self._labels.values():
            hasher.update(np.ascontiguousarray(labels).data)
        return hasher.hexdigest()

    @functools.cached_property
    def content_sample(self) -> str:
        """Hash of the sizes and beginnings of some files of each split."""
        return "-".join(
            sample_of_files([self._root / name for name in self._files[split]])
            for split in sorted(self._files)
        )

    def num_examples(self, split: Split) -> int:
        """Returns the number of image files of a split."""
        return len(self._files[split])

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every file, `[examples]`, int64."""
        return self._labels[split]

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns the additional columns of the files: values by column."""
        return self._columns.get(split, {})

    def name_of(self, split: Split, example: int) -> str:
        """Returns the path of a file, with bytes that are not printable escaped."""
        return printable(self.path_of(split, example))

    def id_of(self, split: Split, example: int) -> str:
        """Returns the path of a file relative to the root."""
        return printable(self._files[split][example])

    def path_of(self, split: Split, example: int) -> Path:
        """Returns the path of a file."""
        return self._root / self._files[split][example]

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from an example number to the content of its file.

        For a pipe, a device or the like, the function fails at once.
        """
        import tensorflow as tf

        # As bytes: file names need not be valid text in any encoding.
        names = [os.fsencode(self._root / file) for file in self._files[split]]
        if split not in self._special:
            self._special[split] = special_files(self._root, self._files[split])
        for example, what in self._special[split].items():
            # Below what is no folder there is nothing: opening such a path is an error, and
            # costs other images nothing.
            names[example] += f"/ {what}, not a regular file".encode()
        paths = tf.constant(names)

        def read(example: tf.Tensor) -> tf.Tensor:
            return tf.io.read_file(tf.gather(paths, example))

        return read

    def _notes_on_classes(self) -> list[str]:
        notes = []
        what_of: dict[Split, str] = {"held_out": "held-out", "train": "training"}
        for split, what in what_of.items():
            counts = np.bincount(self._labels[split], minlength=len(self._class_names))
            missing = [self.class_names[label] for label in np.flatnonzero(counts == 0).tolist()]
            if missing:
                more = f" and {len(missing) - 1} more classes" if len(missing) > 1 else ""
                notes.append(f"no {what} image of {missing[0]}{more}")
        return notes + [
            f"two classes have nearly the same name: {one} and {other}"
            for one, other in _nearly_equal(self.class_names)
        ]


def _nearly_equal(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields names that differ only in case or in the composition of characters (Unicode)."""
    first_of: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", name).casefold()
        if plain in first_of:
            yield first_of[plain], name
        first_of.setdefault(plain, name)
