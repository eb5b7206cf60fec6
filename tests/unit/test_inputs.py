"""Every file that a command reads, replaced by what somebody else may have put there.

docs/inputs.md lists the same places.
"""

from __future__ import annotations

import pytest

from hvd_imgcls.config import load_config
from hvd_imgcls.config.sources import ManifestSource, RecordsSource
from hvd_imgcls.data import open_source
from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.files.class_lists import read_class_list
from hvd_imgcls.files.text_files import read_lines
from hvd_imgcls.workflows.predicting.journal import Journal
from tests.support.nasty import CONTENTS, SPECIAL, at_once, put, require_readable

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
