"""Group IV: names, links, rights, and files that change. Each is good, bad, or left out."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.errors import DataError
from hvd_imgcls.workflows.preparing.inspection import inspect_file
from tests.unit.data.bad_inputs.jpeg import JPEG
from tests.unit.data.bad_inputs.reading import problems_in_training

NOBODY = 65_534

# Names of good images: nothing in a name matters but its suffix.
GOOD_NAMES = (
    b"plain.jpg",
    b"loud.JPG",
    b"two words.jpg",
    b"line\nbreak.jpg",
    b'quote\'s "and" `more`.jpg',
    b"-rf.jpg",
    b"$(HOME)*?.jpg",
    "caf\u00e9.jpg".encode(),  # composed (NFC)
    "cafe\u0301.jpg".encode(),  # decomposed (NFD): another file
    b"no text \xff\xfe.jpg",
    b"x" * 251 + b".jpg",
    b"a png.png",
)
# Names that are passed over: nobody means them to be images.
HIDDEN_NAMES = (b".hidden.jpg", b"._plain.jpg", b".DS_Store")


def open_folder(root):
    return open_image_folder(
        ImageFolderSource(
            name="image_folder", path=str(root), train_folder="train", held_out_folder="held_out"
        )
    )


@pytest.fixture
def folder():
    """A folder that every user may enter, with an image in each split."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    for split in ("train", "held_out"):
        (root / split / "a").mkdir(parents=True)
        (root / split / "a" / "plain.jpg").write_bytes(JPEG)
    yield root
    shutil.rmtree(root)


@contextlib.contextmanager
def without_rights():
    """Root may read everything: for a while, be somebody who may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def problems(source):
    """Returns what `check-data` and training say of every bad training image, by file name."""
    reasons, left_out = problems_in_training(source)
    found = {}
    for example, (reason, is_left_out) in enumerate(zip(reasons, left_out, strict=True)):
        path = source.path_of("train", example)
        problem = inspect_file(path).problem
        assert (problem is None) == (reason is None) == (not is_left_out), path
        if problem is not None:
            found[path.name] = (problem, reason)
    return found


def test_images_of_any_name_are_good_and_hidden_ones_are_passed_over(folder):
    for name in (*GOOD_NAMES, *HIDDEN_NAMES):
        with open(os.fsencode(folder / "train" / "a") + b"/" + name, "wb") as file:
            file.write(JPEG)
    source = open_folder(folder)
    assert source.num_examples("train") == len(GOOD_NAMES)
    assert problems(source) == {}
    assert not source.notes
    # Printable, whatever the bytes, and in one line.
    assert all(source.name_of("train", e).encode() for e in range(len(GOOD_NAMES)))


def test_links_are_followed_and_broken_ones_are_bad(folder, tmp_path):
    (tmp_path / "elsewhere.jpg").write_bytes(JPEG)
    links = folder / "train" / "a"
    (links / "outside.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (links / "broken.jpg").symlink_to(folder / "nowhere.jpg")
    (links / "circle.jpg").symlink_to(links / "circle.jpg")
    (folder / "train" / "round").symlink_to(folder / "train" / "round")
    found = problems(open_folder(folder))
    assert found.keys() == {"broken.jpg", "circle.jpg"}
    for text in found["broken.jpg"]:
        assert "No such file or directory" in text
    for text in found["circle.jpg"]:
        assert "Too many levels of symbolic links" in text


def test_what_is_no_file_is_left_out_and_a_folder_is_looked_into(folder):
    os.mkfifo(folder / "train" / "a" / "pipe.jpg")
    (folder / "train" / "a" / "folder.jpg").mkdir()
    (folder / "train" / "a" / "folder.jpg" / "inside.jpg").write_bytes(JPEG)
    (folder / "train" / "a" / "empty.jpg").mkdir()
    source = open_folder(folder)
    assert source.num_examples("train") == 2
    assert problems(source) == {}
    (note,) = source.notes
    assert note == "1 files left out that are not images: 1 pipe, socket or device"


def test_an_image_without_the_right_to_read_it_is_bad(folder):
    path = folder / "train" / "a" / "mine.jpg"
    path.write_bytes(JPEG)
    path.chmod(0)
    source = open_folder(folder)
    with without_rights():
        ((problem, reason),) = problems(source).values()
    assert problem == "Permission denied"
    assert "Permission denied" in reason


def test_a_class_folder_without_the_right_to_read_it_is_an_error(folder):
    path = folder / "train" / "a"
    path.chmod(0)
    try:
        with without_rights(), pytest.raises(DataError, match=rf"{path}: .*Permission denied"):
            open_folder(folder)
    finally:
        path.chmod(0o755)  # so that whoever is not root can remove it


def test_all_folders_without_the_right_to_read_them_are_named(folder):
    paths = [folder / "train" / "a", folder / "train" / "b" / "inner", folder / "held_out" / "a"]
    paths[1].mkdir(parents=True)
    for path in paths:
        path.chmod(0)
    try:
        with without_rights(), pytest.raises(DataError) as raised:
            open_folder(folder)
    finally:
        for path in paths:
            path.chmod(0o755)
    lines = [f"  {path}: cannot be read (Permission denied)" for path in paths]
    assert str(raised.value).splitlines()[1:4] == lines
    assert "to fix it: make it readable or remove it" in str(raised.value)


def test_a_path_that_is_too_long_is_an_error(folder):
    place = os.open(folder / "train" / "a", os.O_RDONLY)
    for _ in range(20):  # 5,020 bytes, of 4,096 that the system allows
        os.mkdir("x" * 250, dir_fd=place)
        deeper = os.open("x" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)
    with pytest.raises(DataError, match=r"x: cannot be read \(File name too long\)"):
        open_folder(folder)


def test_images_that_go_or_change_after_the_start_are_bad(folder):
    for name in ("gone.jpg", "text.jpg", "empty.jpg", "another.jpg"):
        (folder / "train" / "a" / name).write_bytes(JPEG)
    source = open_folder(folder)
    (folder / "train" / "a" / "gone.jpg").unlink()
    (folder / "train" / "a" / "text.jpg").write_text("later")
    (folder / "train" / "a" / "empty.jpg").write_bytes(b"")
    # Another image of the same name is an image.
    (folder / "train" / "a" / "another.jpg").write_bytes(JPEG + b"x")
    found = problems(source)
    assert found.keys() == {"gone.jpg", "text.jpg", "empty.jpg"}
    assert all("No such file or directory" in text for text in found["gone.jpg"])
