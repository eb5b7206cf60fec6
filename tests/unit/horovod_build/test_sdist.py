"""The check of the sdist, unpacking, and the patches against a tree like Horovod's."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build import sdist
from hvd_imgcls.horovod_build.patching import REMOVED_LIST, patch_files


def tarball_of(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def originals_from_patches() -> dict[str, str]:
    """Rebuilds from the patches those lines of Horovod that they look at.

    The patches are undone from the last to the first, and their hunks likewise, since each
    counts the lines of the file as the ones before it have left it.
    """
    files: dict[str, dict[int, str]] = {}
    for path in reversed(patch_files()):
        for name, start, old, num_new in reversed(hunks_of(path.read_text())):
            shift = len(old) - num_new
            after = {
                number + (shift if number >= start else 0): line
                for number, line in files.get(name, {}).items()
                if not start <= number < start + num_new
            }
            files[name] = after | dict(enumerate(old, start=start))
    root = f"horovod-{sdist.UPSTREAM_VERSION}"
    removed = REMOVED_LIST.read_text().splitlines()
    return {f"{root}/{path}": "" for path in removed if not path.startswith("#")} | {
        f"{root}/{name}": "".join(
            lines.get(number, "...") + "\n" for number in range(1, max(lines) + 3)
        )
        for name, lines in files.items()
    }


def hunks_of(patch: str) -> list[tuple[str, int, list[str], int]]:
    """Returns file, first new line, old lines and number of new lines of every hunk."""
    hunks: list[tuple[str, int, list[str], int]] = []
    for part in re.split(r"^--- ", patch, flags=re.MULTILINE)[1:]:
        name = part.splitlines()[0].removeprefix("a/")
        if name == "/dev/null":
            continue
        for hunk in re.split(r"^@@ ", part, flags=re.MULTILINE)[1:]:
            heading, *lines = hunk.splitlines()
            start = int(heading.split("+")[1].split(",")[0].split(" ")[0])
            old = [line[1:] for line in lines if line[:1] in ("-", " ")]
            hunks.append((name, start, old, sum(line[:1] in ("+", " ") for line in lines)))
    return hunks


def test_the_right_sdist_is_accepted_and_a_tampered_one_refused(tmp_path: Path) -> None:
    path = tarball_of(tmp_path / "horovod-0.28.1.tar.gz", {"a": "b"})
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    sdist.verify_sdist(path, good)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SetupError, match=f"expected {good}"):
        sdist.verify_sdist(path, good)
    with pytest.raises(SetupError, match=sdist.SDIST_SHA256):
        sdist.verify_sdist(path)


def test_unpacking_applies_all_patches_and_writes_the_record(tmp_path: Path) -> None:
    path = tarball_of(tmp_path / "sdist.tar.gz", originals_from_patches())
    source_dir = sdist.unpack_and_patch(path, tmp_path / "work", {"key": "abc"})
    assert f"__version__ = '{sdist.VERSION}'" in (source_dir / "horovod/__init__.py").read_text()
    cmake = (source_dir / "horovod/tensorflow/CMakeLists.txt").read_text()
    assert not (source_dir / "horovod/runner/gloo_run.py").exists()
    assert "mpi_ops.cc" in cmake
    assert "xla_mpi_ops.cc" not in cmake
    record = json.loads((source_dir / "horovod" / sdist.BUILD_RECORD).read_text())
    assert record == {"key": "abc"}
    # Without this line in setup.py the record would not get into the wheel.
    assert sdist.BUILD_RECORD in (source_dir / "setup.py").read_text()


def test_another_horovod_is_refused_by_the_name_of_file_and_patch(tmp_path: Path) -> None:
    files = originals_from_patches()
    name = f"horovod-{sdist.UPSTREAM_VERSION}/horovod/__init__.py"
    files[name] = files[name].replace("0.28.1", "0.29.0")
    path = tarball_of(tmp_path / "sdist.tar.gz", files)
    with pytest.raises(SetupError, match=r"01-version.*horovod/__init__\.py differs"):
        sdist.unpack_and_patch(path, tmp_path / "work", {})


def test_a_tarball_that_writes_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tarball_of(tmp_path / "sdist.tar.gz", {"../outside": "x"})
    with pytest.raises(SetupError, match=r"\.\./outside"):
        sdist.unpack_and_patch(path, tmp_path / "work", {})
    assert not (tmp_path / "outside").exists()
