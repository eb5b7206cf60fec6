"""A source of image files in class folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hvd_imgcls.config.sources import ImageFolderSource
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.folder_scan import Scan, scan_class_folders
from hvd_imgcls.data.sources.splitting import split_by_fraction
from hvd_imgcls.errors import DataError


def open_image_folder(config: ImageFolderSource) -> FileSource:
    """Returns the images in class folders, split by folder or within each class.

    Classes are sorted by the bytes of their names.

    Args:
        config: The folder and how it is split.

    Raises:
        ConfigError: If a folder cannot be read.
        DataError: If it is empty, or the splits have different classes.
    """
    root = Path(config.path).expanduser()
    if config.train_folder is not None and config.held_out_folder is not None:
        return _of_split_folders(root, config.train_folder, config.held_out_folder)
    scan = scan_class_folders(root, "data.source.path")
    files, labels = _flatten(scan, scan.class_names, "")
    chosen_of = split_by_fraction(labels, config.held_out_fraction, config.split_seed)
    return FileSource(
        root,
        scan.class_names,
        {split: [files[index] for index in chosen] for split, chosen in chosen_of.items()},
        {split: labels[chosen] for split, chosen in chosen_of.items()},
        _notes(scan.left_out),
    )


def _of_split_folders(root: Path, train_folder: str, held_out_folder: str) -> FileSource:
    train = scan_class_folders(root / train_folder, "data.source.train_folder")
    held_out = scan_class_folders(root / held_out_folder, "data.source.held_out_folder")
    unknown = [name for name in held_out.class_names if name not in set(train.class_names)]
    if unknown:
        raise DataError(
            f"{root / held_out_folder / unknown[0]}: no class of this name in "
            f"{root / train_folder}; the classes of both folders must have the same names"
        )
    files: dict[Split, list[str]] = {}
    labels: dict[Split, Numbers] = {}
    files["train"], labels["train"] = _flatten(train, train.class_names, train_folder + "/")
    files["held_out"], labels["held_out"] = _flatten(
        held_out, train.class_names, held_out_folder + "/"
    )
    notes = _notes(train.left_out + held_out.left_out)
    return FileSource(root, train.class_names, files, labels, notes)


def _flatten(scan: Scan, class_names: Sequence[str], prefix: str) -> tuple[list[str], Numbers]:
    label_of = {name: label for label, name in enumerate(class_names)}
    files = [prefix + file for of_class in scan.files for file in of_class]
    labels = [
        label_of[name]
        for name, of_class in zip(scan.class_names, scan.files, strict=True)
        for _ in of_class
    ]
    return files, np.array(labels, dtype=np.int64)


def _notes(left_out: Counter[str]) -> list[str]:
    if not left_out:
        return []
    kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common(5))
    return [f"{left_out.total():,} files left out that are not images: {kinds}"]
