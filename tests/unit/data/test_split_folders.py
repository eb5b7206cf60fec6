"""Folders are what they are taken for: classes or splits, and the splits are different images."""

from __future__ import annotations

import os

import pytest

from hvd_imgcls import cli
from hvd_imgcls.config.data.sources import ImageFolderSource, ManifestSource, TfRecordSource
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.data.sources.manifest import open_manifest
from hvd_imgcls.data.sources.tfrecord.source import open_tfrecord
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.workflows.predicting.inputs import list_images

CLASSES = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]
SPLIT = {"train_folder": "train", "held_out_folder": "val"}


def make(root, *folders, names=CLASSES):
    for folder in folders:
        for name in names:
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"image")
    return root


def open_folder(root, **keywords):
    return open_image_folder(ImageFolderSource(name="image_folder", path=str(root), **keywords))


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["train", "val"], "train_folder: train and data.source.held_out_folder: val"),
        (["Training", "TEST"], "train_folder: Training and data.source.held_out_folder: TEST"),
        (["train", "validation", "test"], "held_out_folder: validation"),
        (["train", "val", "extra"], "train and val would be classes"),
        (["train"], "pass .*/train to split it at random"),
        (["train", "val", "@eaDir"], "held_out_folder: val"),
    ],
)
def test_folders_of_splits_are_no_classes(tmp_path, folders, said):
    make(tmp_path, *folders)
    with pytest.raises(DataError, match=said):
        open_folder(tmp_path)


def test_classes_may_be_called_like_splits(tmp_path):
    make(tmp_path, "", names=["train/1.jpg", "train/2.jpg", "bus/1.jpg", "bus/2.jpg", "test/1.jpg"])
    assert open_folder(tmp_path).class_names == ("bus", "test", "train")
    (tmp_path / "bus" / "1.jpg").unlink()
    (tmp_path / "bus" / "2.jpg").unlink()
    (tmp_path / "bus").rmdir()
    assert "the classes are called test and train, like splits" in open_folder(tmp_path).notes


def test_check_data_names_its_options_for_splits(tmp_path, capsys):
    make(tmp_path / "images", "train", "val")
    words = ["check-data", str(tmp_path / "images"), "--manifest", str(tmp_path / "m.parquet")]
    assert cli.exit_code_of(lambda: cli.main(words)) == 3
    assert "--train-folder and --held-out-folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("train", "held_out", "said"),
    [
        ("train", "train", "the same folder as the training images"),
        ("train", "train/../train/", "the same folder as the training images"),
        ("train", "link", "the same folder as the training images"),
        ("link", "train", "the same folder as the training images"),
        (".", "train", "a folder inside that of the training images"),
        ("link/inner", "train", "a folder that contains that of the training images"),
    ],
)
def test_the_folders_of_the_splits_are_two(tmp_path, train, held_out, said):
    make(tmp_path, "train", "train/inner")
    (tmp_path / "link").symlink_to("train")
    with pytest.raises(ConfigError, match=f"held_out_folder: got .*{said}"):
        open_folder(tmp_path, train_folder=train, held_out_folder=held_out)


def link_class(root):
    (root / "val" / "dog").symlink_to(root / "train" / "dog")


def link_file(root):
    (root / "val" / "cat" / "9.jpg").symlink_to("../../train/cat/1.jpg")


def link_back(root):
    (root / "train" / "cat" / "9.jpg").symlink_to(root / "val" / "cat" / "1.jpg")


def link_both(root):
    make(root, "all")
    for split in ("train", "val"):
        (root / split / "cat" / "9.jpg").symlink_to(root / "all" / "cat" / "1.jpg")


@pytest.mark.parametrize("link", [link_class, link_file, link_back, link_both])
def test_images_of_both_splits_by_links_are_named(tmp_path, link):
    make(tmp_path, "train")
    make(tmp_path, "val", names=["cat/1.jpg"])
    link(tmp_path)
    with pytest.raises(DataError, match=r"/val/.*: the same as .*/train/.*, by a link"):
        open_folder(tmp_path, **SPLIT)


def test_splits_of_links_into_one_folder_are_fine(tmp_path):
    make(tmp_path, "all")
    for split, number in (("train", 1), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            link = tmp_path / split / name / "x.jpg"
            link.symlink_to(tmp_path / "all" / name / f"{number}.jpg")
    assert open_folder(tmp_path, **SPLIT).num_examples("held_out") == 2


def test_a_folder_of_two_classes_is_refused_and_counts_once_in_one(tmp_path):
    make(tmp_path, "")
    (tmp_path / "cat" / "a").mkdir()
    (tmp_path / "cat" / "a" / "3.jpg").write_bytes(b"image")
    (tmp_path / "cat" / "b").symlink_to("a")
    source = open_folder(tmp_path)
    assert source.num_examples("train") + source.num_examples("held_out") == 5
    (tmp_path / "fox").symlink_to("dog")
    with pytest.raises(DataError, match=r"/fox: the same folder as .*/dog, of another class"):
        open_folder(tmp_path)


def test_folders_of_systems_are_left_out_with_a_note(tmp_path):
    names = [*CLASSES, "@eaDir/x.jpg", "cat/@eaDir/1.jpg/THUMB.jpg", "lost+found/y.jpg"]
    make(tmp_path, "", names=names)
    (tmp_path / "__MACOSX").mkdir()
    source = open_folder(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert source.num_examples("train") + source.num_examples("held_out") == 4
    note = "folders left out that a system has created: @eaDir (2), __MACOSX (1), lost+found (1)"
    assert note in source.notes
    assert len(list_images([str(tmp_path)], ())) == 4


def test_a_table_may_not_name_an_image_twice_by_links_or_other_paths(tmp_path):
    make(tmp_path, "images")
    (tmp_path / "link").symlink_to("images")
    path = tmp_path / "t.csv"
    for other in ("link/cat/1.jpg", f"{tmp_path}/images/cat/1.jpg"):
        path.write_text(f"path,label,split\nimages/cat/1.jpg,cat,train\n{other},cat,held_out\n")
        with pytest.raises(DataError, match="listed in row 1 and in row 2"):
            open_manifest(ManifestSource(name="manifest", path=str(path)))
    same = {"train_value": "a", "held_out_value": "a", "split_column": "split"}
    with pytest.raises(ConfigError, match="held_out_value: got 'a', expected another"):
        open_manifest(ManifestSource(name="manifest", path=str(path), **same))


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_record_files_of_both_splits_by_links_are_named(tmp_path, link):
    (tmp_path / "train-0").write_bytes(b"records")
    link(tmp_path / "train-0", tmp_path / "validation-0")
    with pytest.raises(ConfigError, match=r"validation-0 is in both, by a link, as .*train-0"):
        open_tfrecord(TfRecordSource(name="tfrecord", path=str(tmp_path)))
