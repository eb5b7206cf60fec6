"""A source of images in TFRecord files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from hvd_imgcls.config.data.sources import TfdsSource, TfRecordSource
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.byte_ranges import ByteRanges, PackedImages
from hvd_imgcls.data.sources.tfrecord.files import (
    empty_files,
    files_of,
    require_different_files,
)
from hvd_imgcls.data.sources.tfrecord.index import Keys, indexed
from hvd_imgcls.errors import DataError
from hvd_imgcls.files.class_lists import listed, read_class_list, repeated, require_possible_number

INDEX_DIR = ".hvd-imgcls-index"


class TfRecords(PackedImages):
    """Images in TFRecord files, with random access.

    Args:
        files: Files of each split.
        tables: Their index rows.
        first_label: The smallest label.
        class_names: The class list; None uses the names in the records, or the numbers.

    Raises:
        DataError: If a label is out of range, or there are gaps between the labels.
    """

    def __init__(
        self,
        files: Mapping[Split, Sequence[Path]],
        tables: Mapping[Split, Sequence[pa.Table]],
        *,
        first_label: int = 0,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._files = files
        rows = {split: pa.concat_tables(tables[split]) for split in tables}
        self._empty = {split: empty_files(files[split], tables[split]) for split in tables}
        self._first_rows: dict[Split, Numbers] = {}
        ranges = {}
        for split, table in rows.items():
            lengths = [part.num_rows for part in tables[split]]
            self._first_rows[split] = np.cumsum([0, *lengths[:-1]])
            ranges[split] = ByteRanges(
                files=files[split],
                file=np.repeat(np.arange(len(lengths)), lengths),
                offset=table["offset"].to_numpy(),
                size=table["size"].to_numpy(),
                checksum=table["checksum"].to_numpy(),
            )
        super().__init__(ranges)
        self._labels = {
            split: table["label"].to_numpy().astype(np.int64) - first_label
            for split, table in rows.items()
        }
        self._class_names = tuple(class_names or self._names_in(rows["train"]))
        self._require_labels(first_label)
        if class_names or not rows["train"]["class_name"].null_count:
            for split, table in rows.items():
                self._require_names(split, table, is_named_by_records=not class_names)
        self._checksums = {split: table["checksum"].to_numpy() for split, table in rows.items()}

    @property
    def class_names(self) -> Sequence[str]:
        """Name of every class, in the order of the labels."""
        return self._class_names

    @property
    def notes(self) -> Sequence[str]:
        """Empty files and duplicate images."""
        train, held_out = self._checksums["train"], self._checksums["held_out"]
        notes = [
            f"{len(empty):,} files have no records, such as {empty[0]}"
            for empty in [[*self._empty["train"], *self._empty["held_out"]]]
            if empty
        ]
        if repeated := len(train) - len(np.unique(train)):
            notes.append(f"{repeated:,} training images are duplicates")
        if both := len(np.intersect1d(train, held_out)):
            notes.append(f"{both:,} images are in both splits")
        return notes

    @property
    def fingerprint(self) -> str:
        """Hash of the checksums of all images and of their labels."""
        hasher = xxhash.xxh3_64("\0".join(self._class_names).encode())
        for columns in (self._checksums, self._labels):
            for column in columns.values():
                hasher.update(np.ascontiguousarray(column).data)
        return hasher.hexdigest()

    def num_examples(self, split: Split) -> int:
        """Returns the number of records of a split."""
        return len(self._labels[split])

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every record, counted from 0, `[examples]`, int64."""
        return self._labels[split]

    def name_of(self, split: Split, example: int) -> str:
        """Returns the file and the record number in it."""
        file = int(self._ranges[split].file[example])
        return f"{self._files[split][file]}, record {example - self._first_rows[split][file]}"

    def _names_in(self, rows: pa.Table) -> list[str]:
        """Returns the class names in the records, or the label numbers."""
        number = int(self._labels["train"].max()) + 1
        require_possible_number(number, str(self._files["train"][0].parent))
        missing = np.setdiff1d(np.arange(number), self._labels["train"])
        if len(missing):
            raise DataError(
                f"{self._files['train'][0].parent}: no training record has label {missing[0]} "
                "(counted from 0); set data.source.first_label or the class list"
            )
        if rows["class_name"].null_count:
            return [str(label) for label in range(number)]
        pairs = pa.table({"label": self._labels["train"], "name": rows["class_name"]})
        distinct = pairs.group_by(["label", "name"]).aggregate([])
        if distinct.num_rows != number:
            raise DataError(
                f"{self._files['train'][0].parent}: {distinct.num_rows} pairs of label and "
                f"image/class/text for {number} labels; set data.source.class_names_file"
            )
        names = [str(name) for name in distinct.sort_by("label")["name"].to_pylist()]
        twice = repeated(names)
        if twice is not None:
            raise DataError(
                f"{self._files['train'][0].parent}: image/class/text is {twice!r} for several "
                "labels; set data.source.class_names_file"
            )
        return names

    def _require_names(self, split: Split, rows: pa.Table, *, is_named_by_records: bool) -> None:
        """Raises an error if a record's class name contradicts the class list."""
        number_of = {name: number for number, name in enumerate(self._class_names)}
        pairs = pa.table(
            {
                "label": self._labels[split],
                "name": rows["class_name"],
                "example": np.arange(rows.num_rows),
            }
        )
        distinct = pairs.group_by(["label", "name"]).aggregate([("example", "min")])
        for row in distinct.sort_by("example_min").to_pylist():
            label, name = row["label"], row["name"]
            # A list in a file may have other names than the records, but not in another order.
            expected = -1 if is_named_by_records else label
            if name is not None and number_of.get(name, expected) != label:
                raise DataError(
                    f"{self.name_of(split, row['example_min'])}: image/class/text is {name!r}, "
                    f"but the class of its label is {self._class_names[label]!r} in the class list "
                    f"({listed(self._class_names)}); correct the records, or set "
                    "data.source.class_names_file"
                )

    def _require_labels(self, first_label: int) -> None:
        for split, labels in self._labels.items():
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self._class_names)))
            if len(wrong):
                example = int(wrong[0])
                last = first_label + len(self._class_names) - 1
                raise DataError(
                    f"{self.name_of(split, example)}: label {labels[example] + first_label}, "
                    f"expected {first_label} to {last}; set data.source.first_label or correct "
                    "the class list"
                )


def open_tfrecord(config: TfRecordSource) -> TfRecords:
    """Returns the images of TFRecord files; builds their index if it is missing.

    Raises:
        ConfigError: If no files match.
        DataError: If a file is missing or damaged.
    """
    folder = Path(config.path).expanduser()
    files: dict[Split, list[Path]] = {
        "train": files_of(folder, config.train_files, "train_files"),
        "held_out": files_of(folder, config.held_out_files, "held_out_files"),
    }
    require_different_files(files, "data.source.held_out_files", config.held_out_files)
    return TfRecords(
        files,
        index_of_splits(files, folder, config),
        first_label=config.first_label,
        class_names=_class_names(config),
    )


def _class_names(config: TfRecordSource) -> Sequence[str] | None:
    path = config.class_names_file
    return read_class_list("data.source.class_names_file", Path(path)) if path else None


def index_of_splits(
    files: Mapping[Split, Sequence[Path]], folder: Path, config: TfRecordSource | TfdsSource
) -> dict[Split, list[pa.Table]]:
    """Returns the index rows of each split's files; builds the index if it is missing.

    Args:
        files: Files of each split.
        folder: Folder that contains them.
        config: Defines the names of the features and the folder of the index.
    """
    tables = indexed(
        [*files["train"], *files["held_out"]],
        folder,
        Path(config.index_dir).expanduser() if config.index_dir else folder / INDEX_DIR,
        Keys(image=config.image_key, label=config.label_key),
        scan_when_needed,
    )
    num_train = len(files["train"])
    return {"train": tables[:num_train], "held_out": tables[num_train:]}


def scan_when_needed(path: Path, keys: Keys) -> pa.Table:
    """Scans a TFRecord or ArrayRecord file, depending on its name; imports TensorFlow first."""
    from hvd_imgcls.data.sources.tfrecord.scanning import scan_array_record, scan_tfrecord

    return (scan_array_record if ".array_record" in path.name else scan_tfrecord)(path, keys)
