"""Every file that a command reads, replaced by what somebody else may have put there.

docs/inputs.md lists the same places.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from hvd_imgcls.config import load_config
from hvd_imgcls.config.data.sources import ManifestSource, RecordsSource
from hvd_imgcls.data import open_source
from hvd_imgcls.data.bad_examples.unreadable import READ_ERRORS, reason_of
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.folder_scan import scan_class_folders
from hvd_imgcls.distributed import starting
from hvd_imgcls.errors import CheckpointError, DataError, HvdImgclsError, SetupError
from hvd_imgcls.files.class_lists import read_class_list
from hvd_imgcls.files.text_files import read_lines
from hvd_imgcls.models.files import read_model
from hvd_imgcls.workflows.check_data import MANIFEST_SCHEMA
from hvd_imgcls.workflows.predicting.journal import Journal
from hvd_imgcls.workflows.preparing.inspection import inspect_file
from hvd_imgcls.workflows.trained_model.loading import digest_of_model
from tests.support.nasty import CONTENTS, SPECIAL, at_once, put, require_readable
from tests.unit.data.bad_inputs.jpeg import JPEG

# A file of one of these is what the reader expects, or nearly: it may read it.
FINE = {
    "classes.txt": set(CONTENTS) - {"empty", "not UTF-8", "noise"},
    "list.txt": set(CONTENTS),
    # Without a complete line: the first one of a killed run.
    "journal": set(CONTENTS),
}


def of_manifest(name):
    def read(path):
        source = open_source(ManifestSource(name="manifest", path=str(path)))
        assert source.num_examples("train")

    return read


def of_records(path):
    open_source(RecordsSource(name="records", path=str(path.parent)))


PLACES = {
    "pipeline.yaml": load_config,
    "classes.txt": lambda path: read_class_list("--classes", path),
    "classes.json": lambda path: read_class_list("--classes", path),
    "list.txt": lambda path: read_lines("--list", path, "the path of an image", any_bytes=True),
    "manifest.csv": of_manifest("manifest.csv"),
    "manifest.parquet": of_manifest("manifest.parquet"),
    "manifest.json": of_records,
    "journal": lambda path: Journal(path, {"images": "0"}).close(),
}


def readers():
    return [pytest.param(name, read, id=name) for name, read in PLACES.items()]


@pytest.mark.parametrize("what", [*SPECIAL, *CONTENTS])
@pytest.mark.parametrize(("name", "read"), readers())
def test_every_file_is_read_or_refused_at_once(name, read, what, tmp_path):
    path = tmp_path / name
    put(what, path)
    with at_once():
        try:
            read(path)
        except HvdImgclsError as error:
            require_readable(str(error))
        else:
            assert what in FINE.get(name, ())


def image_source(folder):
    """Returns a source with a good image and one of each special file, as a list names them."""
    good = folder / "good.jpg"
    good.write_bytes(JPEG)
    files = ["good.jpg"]
    for number, what in enumerate(SPECIAL):
        files.append(f"{number}.jpg")
        put(what, folder / files[-1])
    labels = {"train": np.zeros(len(files), np.int64), "held_out": np.zeros(0, np.int64)}
    return FileSource(folder, ("a",), {"train": files, "held_out": []}, labels, [])


@pytest.mark.parametrize("num_copies", [0, 20])
def test_images_are_read_or_bad_at_once(tmp_path, num_copies):
    for number in range(num_copies):
        shutil.copyfile("/dev/null", tmp_path / f"other {number}.jpg")
    source = image_source(tmp_path)
    read = source.make_reader("train")
    assert read(tf.constant(0, tf.int64)).numpy() == JPEG
    reasons = {}
    for example, what in enumerate(SPECIAL, start=1):
        if what != "4 TiB":  # Only check-data looks at sizes.
            with at_once(), pytest.raises(READ_ERRORS) as refusal:
                read(tf.constant(example, tf.int64))
            reasons[what] = reason_of(refusal.value)
        with at_once():
            assert inspect_file(source.path_of("train", example)).problem
    assert reasons["pipe"] == reasons["link to a pipe"] == "a pipe, not a regular file"
    assert reasons["endless device"] == "a device, not a regular file"
    assert reasons["file of the kernel"] == "a file of the kernel, not a regular file"


def test_links_to_what_is_no_file_are_left_out_of_class_folders(tmp_path):
    (tmp_path / "a").mkdir()
    image_source(tmp_path / "a")
    scan = scan_class_folders(tmp_path, "data.source.path")
    assert scan.left_out["pipe, socket or device"] == 7
    assert [name for name in scan.files[0] if "good" in name] == ["a/good.jpg"]


@pytest.mark.parametrize("what", [*SPECIAL, *CONTENTS])
def test_a_model_is_loaded_or_refused_at_once(tmp_path, what):
    path = tmp_path / "model.keras"
    put(what, path)
    with at_once(), pytest.raises(CheckpointError) as refusal:
        read_model(path)
    require_readable(str(refusal.value))
    assert digest_of_model(path) if what in CONTENTS else True


@pytest.mark.parametrize("member", ["model.weights.h5", "config.json", "other"])
def test_an_archive_that_expands_to_gigabytes_is_refused(tmp_path, member):
    path = tmp_path / "model.keras"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(member, "w", force_zip64=True) as file,
    ):
        for _ in range(20):
            file.write(bytes(2**24))
    with at_once(), pytest.raises(CheckpointError, match="expand to"):
        read_model(path)


@pytest.mark.parametrize("sides", [(2147483649, 1), (1, 2147483649), (2**31 - 1, 2**31 - 1)])
def test_sizes_of_a_header_fit_into_the_manifest(tmp_path, sides):
    header = struct.pack("<IiiHHIIiiII", 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0)
    header = header[:4] + struct.pack("<II", *sides) + header[12:]
    path = tmp_path / "a.bmp"
    path.write_bytes(b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header)
    facts = inspect_file(path).to_json()
    assert facts["problem"]
    names = [name for name in facts if name in MANIFEST_SCHEMA.names]
    schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in names])
    pa.Table.from_pylist([{name: facts[name] for name in names}], schema=schema)


def test_more_classes_than_can_be_evaluated_are_refused_before_training(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("path,label\n" + "".join(f"{n}.jpg,{n}\n" for n in range(100_001)))
    with pytest.raises(DataError, match="100,001 classes, expected at most 100,000"):
        open_source(ManifestSource(name="manifest", path=str(path)))


def test_ranks_without_a_rendezvous_say_at_once_what_is_missing(monkeypatch):
    environment = {"HOROVOD_RANK": "0", "HOROVOD_SIZE": "2", "HOROVOD_GLOO_RENDEZVOUS_PORT": "1"}
    with pytest.raises(SetupError, match="not HOROVOD_GLOO_RENDEZVOUS_ADDR, without"):
        starting._require_rendezvous(environment)


def test_closed_standard_streams_are_no_error():
    command = [sys.executable, "-m", "hvd_imgcls", "plan", "pipelines/digits_cnn.yaml"]
    for closed in (">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
        done = subprocess.run(["bash", "-c", f'"$@" {closed}', "-", *command], check=False)
        assert done.returncode == 0, closed
