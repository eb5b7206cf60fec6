"""Horovod's source: fetched once by pip, checked, unpacked, patched."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.patching import REMOVED_LIST, apply_patch, patch_files, remove
from hvd_imgcls.horovod_build.processes import Say, run_logged

UPSTREAM_VERSION = "0.28.1"
# Written into horovod/__init__.py by patches/01. Increase it with every change of a patch.
VERSION = f"{UPSTREAM_VERSION}+hvdimgcls.8"
# The hash of horovod-0.28.1.tar.gz on PyPI.
SDIST_SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
BUILD_RECORD = "hvd_imgcls_build.json"


def fetch_sdist(
    python: str,
    sdists_dir: Path,
    *,
    log_path: Path,
    environment: Mapping[str, str],
    say: Say,
) -> Path:
    """Returns the path of the verified sdist, after downloading it if necessary.

    Args:
        python: Interpreter whose pip downloads.
        sdists_dir: Where sdists are kept.
        log_path: File for pip's output.
        environment: Must provide setuptools and wheel, since pip builds the metadata of an
            sdist even if it only downloads it.
        say: Prints a line.
    """
    path = sdists_dir / f"horovod-{UPSTREAM_VERSION}.tar.gz"
    if path.exists():
        try:
            verify_sdist(path)
        except SetupError as error:
            say(f"  {error.problem}; downloading it again")
            path.unlink()
        else:
            return path
    say(f"downloading the source of Horovod {UPSTREAM_VERSION} (3.5 MB)")
    download_dir = sdists_dir / f"download-{os.getpid()}"
    command = [python, "-m", "pip", "download", "--no-deps", "--no-binary", "horovod"]
    command += ["--no-build-isolation", "--no-cache-dir", "--retries", "2"]
    command += ["--dest", str(download_dir), f"horovod=={UPSTREAM_VERSION}"]
    download_dir.mkdir(parents=True)
    try:
        what = "downloading Horovod's source"
        run_logged(command, what=what, log_path=log_path, say=say, environment=environment)
        downloaded = download_dir / path.name
        verify_sdist(downloaded)
        downloaded.rename(path)
    finally:
        for left in download_dir.iterdir():
            left.unlink()
        download_dir.rmdir()
    return path


def verify_sdist(path: Path, expected_sha256: str = SDIST_SHA256) -> None:
    """Raises a SetupError unless the file has the expected SHA-256."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected_sha256:
        raise SetupError(
            f"{path} is not the Horovod {UPSTREAM_VERSION} that was reviewed: its SHA-256 is "
            f"{found}, expected {expected_sha256}",
            fix="check where pip downloads from (pip config list)",
        )


def unpack_and_patch(sdist_path: Path, into_dir: Path, build_record: Mapping[str, Any]) -> Path:
    """Unpacks the sdist, patches it, removes what we leave out and adds the build record.

    Returns:
        The root of the source tree.

    Raises:
        SetupError: If the archive would write elsewhere or a patch does not apply.
    """
    with tarfile.open(sdist_path) as archive:
        _require_inside(archive.getmembers(), sdist_path, into_dir)
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(into_dir)
    source_dir = into_dir / f"horovod-{UPSTREAM_VERSION}"
    for patch_path in patch_files():
        apply_patch(patch_path, source_dir)
    remove(REMOVED_LIST, source_dir)
    record_path = source_dir / "horovod" / BUILD_RECORD
    record_path.write_text(json.dumps(build_record, indent=2) + "\n", encoding="utf-8")
    return source_dir


def _require_inside(members: list[tarfile.TarInfo], sdist_path: Path, into_dir: Path) -> None:
    """Rejects an archive that would write outside of `into_dir`.

    So does tarfile's "data" filter, but Python 3.11 has it only since 3.11.4, and Debian 12
    has 3.11.2.
    """
    root = into_dir.resolve()
    for member in members:
        targets = [root / member.name]
        if member.islnk() or member.issym():
            targets.append((root / member.name).parent / member.linkname)
        if not all(target.resolve().is_relative_to(root) for target in targets):
            raise SetupError(
                f"{sdist_path}: {member.name} would be written outside of {into_dir}",
                fix="remove the file, which is not Horovod's source, and try again",
            )
