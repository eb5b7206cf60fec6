"""A source of image files in class folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.folder_scan import (
    FolderProblem,
    Scan,
    describe_problems,
    scan_class_folders,
)
from hvd_imgcls.data.sources.split_folders import (
    flat_splits_note,
    require_classes,
    require_different_folders,
    shared_images,
)
from hvd_imgcls.data.sources.splitting import split_by_fraction
from hvd_imgcls.errors import DataError
from hvd_imgcls.text.printable import printable


def open_image_folder(
    config: ImageFolderSource, *, problems: list[FolderProblem] | None = None
) -> FileSource:
    """Returns the images in class folders, split by folder or within each class.

    Classes are sorted by the bytes of their names.

    Args:
        config: The folder and how it is split.
        problems: Where to add what is wrong with class folders, which are then left out. If
            None, or if no class is left, it is an error.

    Raises:
        ConfigError: If a folder cannot be read.
        DataError: If it has no images. With all problems of class folders: unreadable ones, and
            held-out classes that the training split does not have.
    """
    source, found = _open(config)
    if found and (problems is None or not source.class_names):
        raise DataError(describe_problems(found))
    if problems is not None:
        problems += found
    return source


def _open(config: ImageFolderSource) -> tuple[FileSource, list[FolderProblem]]:
    root = Path(config.path).expanduser()
    if config.train_folder is not None and config.held_out_folder is not None:
        return _of_split_folders(root, config.train_folder, config.held_out_folder)
    require_classes(root)
    scan = scan_class_folders(root, "data.source.path")
    class_names = _not_empty(scan)
    files, labels = _flatten(scan, class_names, "")
    chosen_of = split_by_fraction(labels, config.held_out_fraction, config.split_seed)
    source = FileSource(
        root,
        class_names,
        {split: [files[index] for index in chosen] for split, chosen in chosen_of.items()},
        {split: labels[chosen] for split, chosen in chosen_of.items()},
        [*_notes(scan), *_on_empty(scan), *flat_splits_note(root)],
        is_split_at_random=True,
    )
    return source, scan.problems


def _of_split_folders(
    root: Path, train_folder: str, held_out_folder: str
) -> tuple[FileSource, list[FolderProblem]]:
    require_different_folders(root, train_folder, held_out_folder)
    train = scan_class_folders(root / train_folder, "data.source.train_folder")
    held_out = scan_class_folders(root / held_out_folder, "data.source.held_out_folder")
    known = set(_not_empty(train))
    unknown = [
        FolderProblem(
            what=f"{printable(root / held_out_folder / name)}: no class of this name in "
            f"{printable(root / train_folder)}",
            fix="the classes of both folders must have the same names",
        )
        for name in held_out.class_names
        if name not in known and name not in held_out.empty
    ]
    class_names = _not_empty(train)
    files: dict[Split, list[str]] = {}
    labels: dict[Split, Numbers] = {}
    files["train"], labels["train"] = _flatten(train, class_names, train_folder + "/")
    files["held_out"], labels["held_out"] = _flatten(held_out, class_names, held_out_folder + "/")
    # A class without held-out images is noted by the source.
    notes = [*_notes(train, held_out), *_on_empty(train)]
    source = FileSource(root, class_names, files, labels, notes)
    both = shared_images(train, held_out, root, train_folder, held_out_folder)
    return source, train.problems + held_out.problems + unknown + both


def _not_empty(scan: Scan) -> list[str]:
    """Returns the classes that have images."""
    return [name for name, files in zip(scan.class_names, scan.files, strict=True) if files]


def _flatten(scan: Scan, class_names: Sequence[str], prefix: str) -> tuple[list[str], Numbers]:
    """Returns the files of some classes, and their labels."""
    label_of = {name: label for label, name in enumerate(class_names)}
    pairs = [
        (prefix + file, label_of[name])
        for name, of_class in zip(scan.class_names, scan.files, strict=True)
        if name in label_of
        for file in of_class
    ]
    files, labels = [file for file, _ in pairs], [label for _, label in pairs]
    return files, np.array(labels, dtype=np.int64)


def _on_empty(scan: Scan) -> list[str]:
    if not scan.empty:
        return []
    more = f" and {len(scan.empty) - 1:,} more folders" if len(scan.empty) > 1 else ""
    return [f"no class, because there are no images in it: {printable(scan.empty[0])}{more}"]


def _notes(*scans: Scan) -> list[str]:
    left_out = sum((scan.left_out for scan in scans), Counter[str]())
    system_folders = sum((scan.system_folders for scan in scans), Counter[str]())
    notes = []
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common(5))
        notes.append(f"{left_out.total():,} files left out that are not images: {kinds}")
    if system_folders:
        names = ", ".join(f"{name} ({count})" for name, count in system_folders.most_common())
        notes.append(f"folders left out that a system has created: {names}")
    return notes
