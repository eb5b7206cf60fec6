"""The code's own version."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import hvd_imgcls

SAY = "from hvd_imgcls.versions import code_version; print(code_version())"


def test_code_version_differs_between_checkouts_that_differ_in_one_line(tmp_path):
    package = Path(hvd_imgcls.__file__).parent
    versions = []
    for number in range(3):
        copy = tmp_path / str(number)
        shutil.copytree(package, copy / "hvd_imgcls", ignore=shutil.ignore_patterns("__pycache__"))
        if number == 2:
            with (copy / "hvd_imgcls" / "plan" / "arithmetic.py").open("a") as file:
                file.write("# changed\n")
        said = subprocess.run(
            [sys.executable, "-c", SAY], cwd=copy, capture_output=True, text=True, check=True
        )
        versions.append(said.stdout.strip())
    assert versions[0].startswith(f"{hvd_imgcls.__version__}+")
    assert versions[0] == versions[1] != versions[2]
