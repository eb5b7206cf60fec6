"""`report` on somebody's run directory: a page, or an error that names the file."""

from __future__ import annotations

import copy
import json
import shutil

import pytest

from hvd_imgcls.errors import ConfigError, HvdImgclsError
from hvd_imgcls.run_directory.classes import class_names_of_run
from hvd_imgcls.workflows.report import write_comparison, write_report
from hvd_imgcls.workflows.report.reading import read_run
from hvd_imgcls.workflows.report.writing import charts_by_section
from tests.support.nasty import CONTENTS, SPECIAL, at_once, put, require_readable
from tests.unit.report.test_report import write_run

FILES = (
    "config.yaml",
    "plan.json",
    "metrics.jsonl",
    "pretraining.jsonl",
    "summary.json",
    "evaluation.json",
    "curves.json",
    "launches.jsonl",
    "pictures.json",
    "quarantine.jsonl",
    "nodes.jsonl",
    "first_batch.png",
    "reconstructions.png",
)
WRONG = (None, "x", -1, 10**400, 1e308, [], {}, [["a"]], {"a": {"b": 1}}, True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", 3, 12)


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def require_page_or_error(run, name):
    """Returns the page, or None after an error that names the file."""
    page = run.parent / "page.html"
    message = None
    with at_once():
        try:
            write_report(run, page)
        except ConfigError as error:
            message = str(error)
    if message is None:
        return page.read_text()
    require_readable(message)
    assert str(run) in message
    return None


@pytest.mark.parametrize("what", [*SPECIAL, *CONTENTS])
@pytest.mark.parametrize("name", FILES)
def test_every_file_may_be_anything(run, name, what):
    path = run / name
    path.unlink(missing_ok=True)
    put(what, path)
    message = None
    with at_once():
        try:
            charts_by_section(read_run(run))
        except ConfigError as error:
            message = str(error)
    if message is None:
        assert what in CONTENTS
    else:
        require_readable(message)
        assert name in message or "config.yaml" in message


@pytest.mark.parametrize("name", [name for name in FILES if name != "config.yaml"])
def test_every_file_may_be_missing(run, name):
    (run / name).unlink(missing_ok=True)
    assert require_page_or_error(run, name)


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.endswith(("json", "jsonl", "yaml"))]
)
def test_every_file_may_be_cut(run, name):
    path = run / name
    content = path.read_bytes() if path.exists() else b'{"epoch": 1, "loss": 0.5}\n'
    for length in (1, len(content) // 2):
        path.write_bytes(content[:length])
        require_page_or_error(run, name)


def places(value, before=()):
    """Yields the paths of all values, of lists those in the first item."""
    yield before
    if isinstance(value, dict):
        for key, inner in list(value.items())[:40]:
            yield from places(inner, (*before, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*before, 0))


def with_value(tree, place, value):
    if not place:
        return value
    changed = copy.deepcopy(tree)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluation.json", "curves.json", "launches.jsonl"])
def test_every_value_may_be_wrong(run, name):
    path = run / name
    tree = json.loads(path.read_text().splitlines()[0] if name.endswith("l") else path.read_text())
    for number, place in enumerate(places(tree)):
        for wrong in (WRONG[number % len(WRONG)], WRONG[(number + 3) % len(WRONG)]):
            path.write_text(json.dumps(with_value(tree, place, wrong)) + "\n")
            require_page_or_error(run, name)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: repr(wrong)[:20])
def test_values_of_a_comparison_may_be_wrong(whole, run, wrong):
    for name in ("evaluation.json", "metrics.jsonl", "summary.json", "plan.json"):
        before = (run / name).read_text() if (run / name).exists() else None
        tree = json.loads(before.splitlines()[0]) if name.endswith("l") else {}
        (run / name).write_text(json.dumps({**tree, "epoch": wrong, "loss": wrong}) + "\n")
        try:
            write_comparison([whole, run], run.parent / "page.html")
        except ConfigError as error:
            require_readable(str(error))
        if before is not None:
            (run / name).write_text(before)


@pytest.mark.parametrize("what", [*SPECIAL, *CONTENTS])
def test_class_names_of_a_run_are_names(run, what):
    put(what, run / "classes.json")
    try:
        with at_once():
            names = class_names_of_run(run)
    except HvdImgclsError as error:
        require_readable(str(error))
    else:
        assert all(isinstance(name, str) for name in names)


@pytest.mark.parametrize(
    "address",
    ["http://example.org/a.png", "file:///etc/passwd", "data:image/svg+xml,<svg/>", "a.png"],
)
def test_no_picture_is_loaded_from_elsewhere(run, address):
    pictures = json.loads((run / "pictures.json").read_text())
    (run / "pictures.json").write_text(json.dumps({**pictures, next(iter(pictures)): address}))
    assert require_page_or_error(run, "pictures.json") is None


def test_a_page_is_not_written_through_a_link(run):
    other = run.parent / "other.txt"
    other.write_text("mine")
    (run / ".report.html.partial").symlink_to(other)
    write_report(run, run / "report.html")
    assert other.read_text() == "mine"
    assert "<!doctype html>" in (run / "report.html").read_text()


@pytest.mark.parametrize("what", ["pipe", "folder", "socket"])
def test_a_page_replaces_files_only(run, what):
    put(what, run / "report.html")
    with pytest.raises(ConfigError, match=r"report\.html"):
        write_report(run, run / "report.html")
    assert not (run / "report.html").is_file()
