"""Class folders: what is found, in which order, how it is split, what is refused."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.errors import ConfigError, DataError


def make_files(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def open_folder(root, **keywords):
    return open_image_folder(ImageFolderSource(name="image_folder", path=str(root), **keywords))


def names_of(folder, split, root):
    return [
        os.path.relpath(folder.name_of(split, example), root)
        for example in range(folder.num_examples(split))
    ]


def test_files_and_classes_are_sorted_by_their_bytes(tmp_path):
    make_files(
        tmp_path, ["b/2.JPG", "b/10.jpg", "B/1.png", "é/x.jpeg", "a b/inner/y.webp", "b/1.gif"]
    )
    folder = open_folder(tmp_path, held_out_fraction=0.001)
    assert folder.class_names == ("B", "a b", "b", "é")
    everything = [*names_of(folder, "train", tmp_path), *names_of(folder, "held_out", tmp_path)]
    assert sorted(everything, key=os.fsencode) == [
        "B/1.png",
        "a b/inner/y.webp",
        "b/1.gif",
        "b/10.jpg",
        "b/2.JPG",
        "é/x.jpeg",
    ]
    # One image of a class stays in training, and of more at least one is held out.
    assert names_of(folder, "held_out", tmp_path)[0].startswith("b/")
    assert folder.labels("train").tolist() == [0, 1, 2, 2, 3]


def test_splits_by_fraction_are_stratified_disjoint_and_repeatable(tmp_path):
    make_files(tmp_path, [f"{c}/{i}.jpg" for c in "xyz" for i in range(40)])
    first, again = open_folder(tmp_path), open_folder(tmp_path)
    other = open_folder(tmp_path, split_seed=1)
    held_out = names_of(first, "held_out", tmp_path)
    assert np.bincount(first.labels("held_out")).tolist() == [8, 8, 8]
    assert not set(held_out) & set(names_of(first, "train", tmp_path))
    assert held_out == names_of(again, "held_out", tmp_path)
    assert held_out != names_of(other, "held_out", tmp_path)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_splits_by_folder_have_the_labels_of_the_training_classes(tmp_path):
    make_files(tmp_path, ["train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/c/9.jpg"])
    folder = open_folder(tmp_path, train_folder="train", held_out_folder="val")
    assert folder.labels("held_out").tolist() == [2]
    assert names_of(folder, "held_out", tmp_path) == ["val/c/9.jpg"]
    assert list(folder.notes) == ["no held-out image of a and 1 more classes"]


def test_a_class_of_the_held_out_folder_alone_is_refused(tmp_path):
    make_files(tmp_path, ["train/a/1.jpg", "train/b/1.jpg", "val/bb/1.jpg"])
    with pytest.raises(DataError, match=r"val/bb: no class of this name in .*train"):
        open_folder(tmp_path, train_folder="train", held_out_folder="val")


def test_what_is_left_out_is_said(tmp_path):
    make_files(tmp_path, ["a/1.jpg", "a/notes.txt", "a/README", "b/1.jpg", "c.jpg", ".cache/x.jpg"])
    (tmp_path / "a" / "._1.jpg").write_bytes(b"")
    (note,) = [note for note in open_folder(tmp_path).notes if "left out" in note]
    assert note.startswith("3 files left out")
    for kind in ("1 .txt", "1 without a suffix", "1 .jpg next to the class folders"):
        assert kind in note


def test_a_broken_link_counts_and_a_circle_of_links_ends(tmp_path):
    make_files(tmp_path, ["a/1.jpg", "b/1.jpg"])
    (tmp_path / "a" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "b" / "again").symlink_to(tmp_path / "b")
    folder = open_folder(tmp_path)
    assert folder.num_examples("train") + folder.num_examples("held_out") == 3


def test_a_pipe_is_left_out_and_a_file_of_any_name_is_not(tmp_path):
    make_files(tmp_path, ["a/1.jpg", "b/1.jpg", "b/pipe, socket or device"])
    os.mkfifo(tmp_path / "a" / "2.jpg")
    folder = open_folder(tmp_path)
    (note,) = [note for note in folder.notes if "left out" in note]
    assert "1 pipe, socket or device" in note
    assert "1 without a suffix" in note
    assert folder.num_examples("train") + folder.num_examples("held_out") == 2


def test_a_class_whose_name_is_no_text_can_be_printed(tmp_path):
    make_files(tmp_path, ["a/1.jpg"])
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    with open(os.fsencode(tmp_path) + b"/\xff/1.jpg", "wb") as file:
        file.write(b"")
    folder = open_folder(tmp_path)
    assert folder.class_names == ("a", "\\xff")
    assert folder.labels("train").tolist() == [0, 1]


def test_a_name_that_is_no_text_can_be_printed(tmp_path):
    make_files(tmp_path, ["a/1.jpg", "b/1.jpg"])
    with open(os.fsencode(tmp_path) + b"/b/\xff.jpg", "wb") as file:
        file.write(b"")
    folder = open_folder(tmp_path)
    names = [
        folder.name_of(s, e) for s in ("train", "held_out") for e in range(folder.num_examples(s))
    ]
    assert any(name.endswith("b/\\xff.jpg") for name in names)
    assert all(name.encode("utf-8") for name in names)


@pytest.mark.parametrize(
    ("names", "keywords", "error", "text"),
    [
        ([], {}, DataError, "no class folders"),
        (["1.jpg"], {}, DataError, "no class folders"),
        (["a/1.txt", "b/1.txt"], {}, DataError, "/a: no image files in it, nor in any other"),
        (
            ["a/1.jpg"],
            {"train_folder": "train", "held_out_folder": "val"},
            ConfigError,
            "data.source.train_folder: got '.*train .*', expected a readable folder",
        ),
    ],
)
def test_folders_that_cannot_be_trained_on_are_refused(tmp_path, names, keywords, error, text):
    make_files(tmp_path, names)
    with pytest.raises(error, match=text):
        open_folder(tmp_path, **keywords)


def test_all_that_is_wrong_is_named_at_once(tmp_path):
    make_files(tmp_path, ["train/a/1.jpg", "train/b/1.jpg", "train/c/x.txt", "train/d/e"])
    make_files(tmp_path, ["val/a/1.jpg", "val/bb/1.jpg", "val/cc/1.jpg", "val/c/1.jpg"])
    (tmp_path / "val" / "b").mkdir()
    folders = {"train_folder": "train", "held_out_folder": "val"}
    with pytest.raises(DataError) as raised:
        open_folder(tmp_path, **folders)
    lines = str(raised.value).splitlines()
    assert lines[0] == "3 problems with class folders:"
    assert lines[1:4] == [
        f"  {tmp_path}/val/bb: no class of this name in {tmp_path}/train",
        f"  {tmp_path}/val/c: no class of this name in {tmp_path}/train",
        f"  {tmp_path}/val/cc: no class of this name in {tmp_path}/train",
    ]
    assert lines[4].endswith("the classes of both folders must have the same names")
    assert len(lines) == 5
    # As check-data opens it: what is left can be checked.
    problems = []
    source = ImageFolderSource(name="image_folder", path=str(tmp_path), **folders)
    folder = open_image_folder(source, problems=problems)
    assert [f"  {problem.what}" for problem in problems] == lines[1:4]
    assert folder.class_names == ("a", "b")
    assert names_of(folder, "held_out", tmp_path) == ["val/a/1.jpg"]
    assert "no class, because there are no images in it: c and 1 more folders" in folder.notes


def test_folders_without_any_image_are_an_error_even_for_a_check(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="nor in any other class folder"):
        open_image_folder(ImageFolderSource(name="image_folder", path=str(tmp_path)), problems=[])


def test_a_missing_folder_is_a_wrong_key(tmp_path):
    with pytest.raises(ConfigError, match=r"data.source.path: .*No such file or directory"):
        open_folder(tmp_path / "nowhere")


def test_half_a_split_by_folder_is_refused():
    with pytest.raises(ValueError, match="train_folder and held_out_folder, or neither"):
        ImageFolderSource(name="image_folder", path="x", train_folder="train")
