"""The strict application of patch files, and our own patches."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.patching import apply_patch, patch_files, remove

ORIGINAL = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n"
PATCH = """Why: two is not a word we use.

--- a/words.txt
+++ b/words.txt
@@ -1,3 +1,4 @@
 one
-two
+TWO
+and a half
 three
@@ -8,2 +9,1 @@
 eight
-nine
"""


@pytest.fixture
def source_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "words.txt").write_text(ORIGINAL)
    return directory


def write_patch(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "07-words.patch"
    path.write_text(text)
    return path


def test_every_hunk_is_applied(tmp_path: Path, source_dir: Path) -> None:
    apply_patch(write_patch(tmp_path, PATCH), source_dir)
    expected = "one\nTWO\nand a half\nthree\nfour\nfive\nsix\nseven\neight\n"
    assert (source_dir / "words.txt").read_text() == expected


def test_a_second_application_is_refused(tmp_path: Path, source_dir: Path) -> None:
    path = write_patch(tmp_path, PATCH)
    apply_patch(path, source_dir)
    with pytest.raises(SetupError, match=r"07-words\.patch.*words\.txt differs.* line 1"):
        apply_patch(path, source_dir)


def test_lines_that_moved_are_refused_and_nothing_is_changed(
    tmp_path: Path, source_dir: Path
) -> None:
    moved = "zero\n" + ORIGINAL
    (source_dir / "words.txt").write_text(moved)
    with pytest.raises(SetupError, match=r"words\.txt"):
        apply_patch(write_patch(tmp_path, PATCH), source_dir)
    assert (source_dir / "words.txt").read_text() == moved


def test_a_failing_later_file_leaves_the_first_alone(tmp_path: Path, source_dir: Path) -> None:
    text = PATCH + "--- a/missing.txt\n+++ b/missing.txt\n@@ -1,1 +1,1 @@\n-a\n+b\n"
    with pytest.raises(SetupError, match=r"missing\.txt is missing"):
        apply_patch(write_patch(tmp_path, text), source_dir)
    assert (source_dir / "words.txt").read_text() == ORIGINAL


NEW_FILE = "Why: more.\n\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n"


def test_a_patch_can_add_a_file_but_not_replace_one(tmp_path: Path, source_dir: Path) -> None:
    path = write_patch(tmp_path, NEW_FILE)
    apply_patch(path, source_dir)
    assert (source_dir / "new.txt").read_text() == "one\ntwo\n"
    with pytest.raises(SetupError, match=r"new\.txt exists already"):
        apply_patch(path, source_dir)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PATCH.split("\n", 2)[2], "does not begin with its reason"),
        ("Why: nothing.\n", "it changes nothing"),
        (PATCH + "garbage\n", "belongs to no hunk"),
        (PATCH.removesuffix("-nine\n"), "the hunk that ends at line 12 is incomplete"),
        ("", "does not begin with its reason"),
    ],
)
def test_a_malformed_patch_is_refused(
    tmp_path: Path, source_dir: Path, text: str, message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        apply_patch(write_patch(tmp_path, text), source_dir)
    assert (source_dir / "words.txt").read_text() == ORIGINAL


def test_every_patch_of_ours_begins_with_its_reason_and_is_small() -> None:
    assert patch_files()
    for path in patch_files():
        text = path.read_text()
        assert text.startswith("Why: "), path.name
        added = [line for line in text.splitlines() if line.startswith("+")]
        assert len(added) < 100, path.name


REMOVED = "# Not needed.\nfolder\nwords.txt\n"


def test_what_is_listed_is_removed(tmp_path: Path, source_dir: Path) -> None:
    (source_dir / "folder" / "inner").mkdir(parents=True)
    (source_dir / "kept.txt").write_text("kept\n")
    path = tmp_path / "removed.txt"
    path.write_text(REMOVED)
    remove(path, source_dir)
    assert [entry.name for entry in source_dir.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [(REMOVED, "folder is missing"), ("words.txt\n", "begin with its reason"), ("", "reason")],
)
def test_a_list_that_does_not_fit_removes_nothing(
    tmp_path: Path, source_dir: Path, text: str, message: str
) -> None:
    path = tmp_path / "removed.txt"
    path.write_text(text)
    with pytest.raises(SetupError, match=message):
        remove(path, source_dir)
    assert (source_dir / "words.txt").read_text() == ORIGINAL
