"""What documents name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hvd_imgcls"


@pytest.mark.parametrize("document", ["docs/tour.md", "README.md", "CONTRIBUTING.md"])
def test_every_path_of_the_code_exists(document):
    text = (ROOT / document).read_text()
    modules = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)", text))
    folders = set(re.findall(r"`((?:[a-z_]+/)+)`", text))
    assert modules
    known = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    known |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    missing = {m for m in modules if not any(f"/{path}".endswith(f"/{m}") for path in known)}
    parents = {f"/{parent.as_posix()}/" for path in known for parent in Path(path).parents}
    tops = {f"/{path.name}/" for path in ROOT.iterdir()} | {"/hvd_imgcls/"}
    missing |= {f for f in folders if not any(p.endswith(f"/{f}") for p in parents | tops)}
    assert missing == set()
