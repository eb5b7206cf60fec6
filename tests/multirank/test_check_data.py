"""`check-data` names what is bad, and finds the same on any number of ranks."""

from __future__ import annotations

import sys

import pyarrow.parquet as pq
import pytest

from hvd_imgcls.data.sources.class_list import CLASS_NAMES_KEY
from hvd_imgcls.workflows.prepare import prepare
from tests.support.folders import open_folder
from tests.support.program import running
from tests.unit.data.images import encoded, write_class_folders


def check(folder, manifest, size, *options):
    words = [sys.executable, "-m", "hvd_imgcls", "check-data", str(folder), *options]
    words += ["--manifest", str(manifest)] if manifest else []
    with running(words, size=size, cwd=folder.parent) as program:
        return program.wait(120), program.output


@pytest.mark.ranks(2)
def test_bad_images_are_named_once_and_the_manifest_is_that_of_one_rank(tmp_path):
    folder = tmp_path / "images"
    write_class_folders(folder, {"a": 70, "b": 70})
    (folder / "c" / "inner").mkdir(parents=True)
    (folder / "d").mkdir()
    (folder / "a" / "cut.jpg").write_bytes(encoded(".jpg", 1)[:300])
    (folder / "b" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    exit_code, output = check(folder, tmp_path / "two.parquet", 2)
    assert exit_code == 3, output
    note = "note: no class, because there are no images in it: c and 1 more folders"
    assert output.count(note) == 1, output
    assert output.count("2 of 142 images cannot be read") == 1, output
    assert output.count(f"{folder}/a/cut.jpg: a JPEG that is cut off in its header") == 1, output
    assert output.count(f"{folder}/b/gone.jpg: No such file or directory") == 1, output
    assert "140 of 142 images can be read" in output
    assert "formats: JPEG 140" in output
    # Images 20 to 69 of a are images 0 to 49 of b.
    assert "held-out images are also in the training split, byte for byte, such as" in output
    assert check(folder, tmp_path / "one.parquet", 1)[0] == 3
    one, two = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    assert one.equals(two)
    assert one.num_rows == 142
    assert two.schema.metadata[CLASS_NAMES_KEY] == b'["a", "b"]'


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_an_existing_file_is_replaced_only_if_told_so(tmp_path):
    folder = tmp_path / "images"
    write_class_folders(folder, {"a": 3, "b": 3})
    (tmp_path / "manifest.parquet").write_text("mine")
    exit_code, output = check(folder, None, 2)
    assert exit_code == 2, output
    assert output.count(f"--manifest: got '{tmp_path}/manifest.parquet, which exists'") == 1
    assert "choose another name with --manifest FILE, or overwrite it with --force" in output
    assert "images can be read" not in output
    assert (tmp_path / "manifest.parquet").read_text() == "mine"
    exit_code, output = check(folder, None, 1, "--force")
    assert exit_code == 0, output
    assert f"manifest written to {tmp_path}/manifest.parquet" in output
    assert pq.read_table(tmp_path / "manifest.parquet").num_rows == 6


@pytest.mark.ranks(2)
def test_a_manifest_that_cannot_be_written_is_said_before_anything_is_read(tmp_path):
    folder = tmp_path / "images"
    write_class_folders(folder, {"a": 1, "b": 1})
    (tmp_path / "file").write_text("")
    exit_code, output = check(folder, tmp_path / "file" / "manifest.parquet", 2)
    assert exit_code == 2, output
    assert output.count("--manifest: got") == 1, output
    assert "images can be read" not in output


@pytest.mark.slow
def test_record_files_are_looked_at_too(tmp_path):
    write_class_folders(tmp_path / "images", {"a": 5, "b": 6})
    prepare(open_folder(tmp_path / "images"), tmp_path / "records", examples_per_block=4)
    block = tmp_path / "records" / "train-00001.tfrecord"
    content = bytearray(block.read_bytes())
    index = pq.read_table(tmp_path / "records" / "train.parquet").to_pylist()
    content[next(row["offset"] for row in index if row["block"] == 1) + 100] ^= 255
    block.write_bytes(content)
    pipeline = tmp_path / "records.yaml"
    pipeline.write_text(PIPELINE)
    exit_code, output = check(pipeline, tmp_path / "manifest.parquet", 1)
    assert exit_code == 3, output
    assert "10 of 11 images can be read" in output
    assert "train-00001.tfrecord, record" in output
    assert "damaged (its checksum has changed)" in output


PIPELINE = """
data: {source: {name: records, path: records}, image_size: 8}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""
