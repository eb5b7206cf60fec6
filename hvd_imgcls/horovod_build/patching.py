"""Applies our patch files to the unpacked sdist, strictly: no fuzz, no moved lines.

`patch` and `git apply` are not used, since they may not be installed.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from hvd_imgcls.errors import SetupError

PATCHES_DIR = Path(__file__).parent / "patches"
REMOVED_LIST = Path(__file__).parent / "removed.txt"

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass
class _Hunk:
    first_line: int
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


def patch_files() -> list[Path]:
    """Returns our patches in the order in which they are applied."""
    return sorted(PATCHES_DIR.glob("*.patch"))


def apply_patch(patch_path: Path, source_dir: Path) -> None:
    """Applies one patch file to a source tree, all of it or none.

    Args:
        patch_path: Unified diff with `a/` and `b/` prefixes; `/dev/null` on the left makes a
            new file. The text before the first file is its reason and is required.
        source_dir: The tree to change.

    Raises:
        SetupError: If it has no reason, is malformed, or a line is not as it expects.
    """
    changed: dict[Path, str] = {}
    for name, hunks in _parse(patch_path).items():
        path = source_dir / name
        is_new = hunks[0].first_line == 0
        if is_new == path.exists():
            raise _refused(patch_path, f"{name} {'exists already' if is_new else 'is missing'}")
        lines = [] if is_new else path.read_text(encoding="utf-8").splitlines(keepends=True)
        changed[path] = "".join(_patched(lines, hunks, patch_path, name))
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")


def remove(list_path: Path, source_dir: Path) -> None:
    """Removes the files and folders of a list from a source tree, all of them or none.

    Args:
        list_path: Text file with one path per line; lines with # are its reason, which is required.
        source_dir: The tree to change.

    Raises:
        SetupError: If it has no reason, or a path is missing.
    """
    lines = list_path.read_text(encoding="utf-8").splitlines()
    paths = [source_dir / line for line in lines if line and not line.startswith("#")]
    if not lines or not lines[0].startswith("#"):
        raise _refused(list_path, "it does not begin with its reason ('# ...')")
    for path in paths:
        if not path.exists():
            raise _refused(list_path, f"{path.relative_to(source_dir)} is missing")
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _patched(lines: list[str], hunks: list[_Hunk], patch_path: Path, name: str) -> list[str]:
    result: list[str] = []
    position = 0
    for hunk in hunks:
        # A hunk without old lines follows the line that it names, all others start there.
        start = hunk.first_line - (1 if hunk.old else 0)
        end = start + len(hunk.old)
        if start < position or lines[start:end] != hunk.old:
            raise _refused(patch_path, f"{name} differs from what it expects at line {start + 1}")
        result += lines[position:start] + hunk.new
        position = end
    return result + lines[position:]


def _parse(patch_path: Path) -> dict[str, list[_Hunk]]:
    files: dict[str, list[_Hunk]] = {}
    hunks: list[_Hunk] | None = None
    lines = patch_path.read_text(encoding="utf-8").splitlines(keepends=True)
    if not lines or not lines[0].startswith("Why: "):
        raise _refused(patch_path, "it does not begin with its reason ('Why: ...')")
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if line.startswith(("--- a/", "--- /dev/null")):
            # The line that follows: +++ b/NAME
            hunks = files.setdefault(lines[index][len("+++ b/") :].strip(), [])
            index += 1
        elif hunks is not None and (match := _HUNK.match(line)):
            hunk = _Hunk(int(match[1]))
            num_old, num_new = int(match[2] or 1), int(match[3] or 1)
            index = _read_hunk(lines, index, hunk, num_old, num_new)
            if (len(hunk.old), len(hunk.new)) != (num_old, num_new):
                raise _refused(patch_path, f"the hunk that ends at line {index} is incomplete")
            hunks.append(hunk)
        elif hunks is not None:
            raise _refused(patch_path, f"line {index} belongs to no hunk")
    if not files or not all(files.values()):
        raise _refused(patch_path, "it changes nothing")
    return files


def _read_hunk(lines: list[str], index: int, hunk: _Hunk, num_old: int, num_new: int) -> int:
    while index < len(lines) and (len(hunk.old) < num_old or len(hunk.new) < num_new):
        kind, text = lines[index][:1], lines[index][1:]
        if kind in " -":
            hunk.old.append(text)
        if kind in " +":
            hunk.new.append(text)
        index += 1
    return index


def _refused(patch_path: Path, reason: str) -> SetupError:
    return SetupError(
        f"{patch_path.name} cannot be applied to Horovod: {reason}",
        fix="reinstall hvd_imgcls, whose patches are for exactly one version of Horovod",
    )
