"""Checks that folders mean what they are taken for: classes or splits, and two different ones."""

from __future__ import annotations

import os
from pathlib import Path

from hvd_imgcls.data.sources.folder_scan import SYSTEM_FOLDERS, FolderProblem, Scan
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.text.printable import printable

_TRAIN_NAMES = ("train", "training", "train_set", "trainset")
_HELD_OUT_NAMES = (
    "val",
    "valid",
    "validation",
    "held_out",
    "held-out",
    "holdout",
    "dev",
    "eval",
    "test",
    "testing",
    "test_set",
    "testset",
)


def require_classes(root: Path) -> None:
    """Raises an error if the folders in a folder are those of splits.

    They are if all have names of splits and contain folders, or if one of the training and one of
    the held-out images contain folders of the same name.

    Args:
        root: Folder that should contain class folders; it need not exist.

    Raises:
        DataError: With the keys to set.
    """
    names = _folders_in(root)
    train = _first_of(names, _TRAIN_NAMES)
    held_out = _first_of(names, _HELD_OUT_NAMES)
    splits = [name for name in names if name.lower() in (*_TRAIN_NAMES, *_HELD_OUT_NAMES)]
    inside = {name: _folders_in(root / name) for name in splits}
    has_only_splits = len(splits) == len(names) and splits and any(inside.values())
    shared = bool(train and held_out and set(inside[train]) & set(inside[held_out]))
    if not has_only_splits and not shared:
        return
    shown = " and ".join(printable(name) for name in splits)
    example = next(f"{name}/{folders[0]}" for name, folders in inside.items() if folders)
    if train and held_out:
        fix = (
            f"set data.source.train_folder: {printable(train)} and data.source.held_out_folder: "
            f"{printable(held_out)} (check-data and prepare: --train-folder and --held-out-folder)"
        )
    else:
        fix = f"pass {printable(root / splits[0])} to split it at random, or rename the folder"
    raise DataError(
        f"{printable(root)}: {shown} would be classes, but looks like the name of a split, with "
        f"class folders in it such as {printable(example)}; {fix}"
    )


def find_splits(root: Path) -> tuple[str, str] | None:
    """Returns the names of the folders of training and held-out images, None without such folders.

    Args:
        root: Folder whose folders may have names of splits, with class folders in them.
    """
    names = _folders_in(root)
    train, held_out = _first_of(names, _TRAIN_NAMES), _first_of(names, _HELD_OUT_NAMES)
    if train and held_out and _folders_in(root / train) and _folders_in(root / held_out):
        return train, held_out
    return None


def require_different_folders(root: Path, train_folder: str, held_out_folder: str) -> None:
    """Raises an error if the folders of both splits are the same, or one is inside the other.

    Args:
        root: The folder that contains both.
        train_folder: The folder of the training images.
        held_out_folder: The folder of the held-out images; both may be links.

    Raises:
        ConfigError: Naming both.
    """
    train, held_out = (
        Path(os.path.realpath(root / name)) for name in (train_folder, held_out_folder)
    )
    if train == held_out:
        problem = "the same folder as the training images"
    elif train in held_out.parents:
        problem = f"a folder inside that of the training images, {printable(train)}"
    elif held_out in train.parents:
        problem = f"a folder that contains that of the training images, {printable(train)}"
    else:
        return
    raise ConfigError(
        "data.source.held_out_folder",
        got=f"{printable(root / held_out_folder)}, {problem}",
        expected="a separate folder, so that the model is evaluated on other images",
        fix="correct it, or omit train_folder and held_out_folder to split at random",
    )


def shared_images(
    train: Scan, held_out: Scan, root: Path, train_folder: str, held_out_folder: str
) -> list[FolderProblem]:
    """Returns the folders and images that are in both splits by links.

    Args:
        train: Contents of the training folder.
        held_out: Contents of the held-out folder.
        root: The folder that contains both.
        train_folder: Name of the training folder.
        held_out_folder: Name of the held-out folder.
    """
    both = [
        (held_out.folders[identity][0], train.folders[identity][0])
        for identity in held_out.folders
        if identity in train.folders
    ]
    both += [
        (file, train.links[target])
        for target, file in held_out.links.items()
        if target in train.links
    ]
    roots = {
        split: os.path.realpath(root / split) + os.sep for split in (train_folder, held_out_folder)
    }
    both += [
        (file, os.path.relpath(target, roots[train_folder]))
        for target, file in held_out.links.items()
        if target.startswith(roots[train_folder])
    ]
    both += [
        (os.path.relpath(target, roots[held_out_folder]), file)
        for target, file in train.links.items()
        if target.startswith(roots[held_out_folder])
    ]
    if not both:
        return []
    more = f", and {len(both) - 1:,} more" if len(both) > 1 else ""
    return [
        FolderProblem(
            what=f"{printable(root / held_out_folder / both[0][0])}: the same as "
            f"{printable(root / train_folder / both[0][1])}, by a link{more}",
            fix="an image must be in one split only: remove the links from one of them",
        )
    ]


def flat_splits_note(root: Path) -> list[str]:
    """Returns a note if all class folders have names of splits."""
    names = _folders_in(root)
    if names and all(name.lower() in (*_TRAIN_NAMES, *_HELD_OUT_NAMES) for name in names):
        return [f"the classes are called {' and '.join(names)}, like splits"]
    return []


def _folders_in(folder: Path) -> list[str]:
    """Returns the visible folders in a folder, sorted; none if it cannot be read."""
    try:
        entries = [entry for entry in os.scandir(folder) if not _is_hidden(entry.name)]
        return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def _first_of(names: list[str], wanted: tuple[str, ...]) -> str | None:
    found = {name.lower(): name for name in names}
    return next((found[name] for name in wanted if name in found), None)


def _is_hidden(name: str) -> bool:
    return name[0] == "." or name in SYSTEM_FOLDERS
