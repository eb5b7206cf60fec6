"""Group V: the folders of the classes."""

from __future__ import annotations

import pytest

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.errors import DataError

SPLIT = {"train_folder": "train", "held_out_folder": "val"}

REFUSED = {
    "no class folders": ({}, ["1.jpg"], "no class folders in it; put the images of each class"),
    "empty classes alone": ({}, ["a/", "b/"], "/a: no image files in it, nor in any other class"),
    "an empty class with held-out images": (
        SPLIT,
        ["train/a/1.jpg", "train/b/", "val/a/1.jpg", "val/b/1.jpg"],
        "val/b: no class of this name in .*/train",
    ),
    "a class of the held-out folder alone": (
        SPLIT,
        ["train/a/1.jpg", "val/a/1.jpg", "val/c/1.jpg"],
        "val/c: no class of this name in .*/train",
    ),
    "other names of the same classes": (
        SPLIT,
        ["train/Cat/1.jpg", "train/Dog/1.jpg", "val/cat/1.jpg", "val/dog/1.jpg"],
        "val/cat: no class of this name in .*/train",
    ),
}

NOTED = {
    "an empty class": (
        {},
        ["a/1.jpg", "a/2.jpg", "b/"],
        "no class, because there are no images in it: b",
    ),
    "an empty class of the held-out folder": (
        SPLIT,
        ["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/"],
        "no held-out image of b",
    ),
    "a class of the training folder alone": (
        SPLIT,
        ["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"],
        "no held-out image of b",
    ),
    "one image of a class": ({}, ["a/1.jpg", "a/2.jpg", "b/1.jpg"], "no held-out image of b"),
    "classes that differ in upper and lower case": (
        {},
        ["Cat/1.jpg", "Cat/2.jpg", "cat/1.jpg", "cat/2.jpg"],
        "two classes have nearly the same name: Cat and cat",
    ),
    "classes that differ in how letters are composed": (
        {},
        [f"{name}/{n}.jpg" for name in ("caf\u00e9", "cafe\u0301") for n in (1, 2)],
        "two classes have nearly the same name: cafe\u0301 and caf\u00e9",
    ),
}


def open_folder(root, names, options):
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"image")
    return open_image_folder(ImageFolderSource(name="image_folder", path=str(root), **options))


@pytest.mark.parametrize("name", REFUSED)
def test_folders_that_cannot_be_meant_are_refused(tmp_path, name):
    options, names, text = REFUSED[name]
    with pytest.raises(DataError, match=text):
        open_folder(tmp_path, names, options)


@pytest.mark.parametrize("name", NOTED)
def test_folders_that_are_perhaps_not_meant_are_noted(tmp_path, name):
    options, names, note = NOTED[name]
    assert list(open_folder(tmp_path, names, options).notes) == [note]


def test_folders_of_the_same_name_inside_two_classes_belong_to_each(tmp_path):
    names = [f"{place}/{n}.jpg" for place in ("a/large", "b/large") for n in range(2)]
    source = open_folder(tmp_path, names, {})
    assert source.class_names == ("a", "b")
    assert source.labels("train").tolist() == source.labels("held_out").tolist() == [0, 1]


def test_labels_have_no_gaps(tmp_path):
    names = [f"{number}/{n}.jpg" for number in (3, 7, 40) for n in range(2)]
    source = open_folder(tmp_path, names, {})
    assert source.class_names == ("3", "40", "7")
    assert source.labels("train").tolist() == [0, 1, 2]
