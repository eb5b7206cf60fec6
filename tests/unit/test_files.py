import os

import pytest

from hvd_imgcls.files.atomic import replacing, require_writable, write_bytes, write_text


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "report.html"
    write_text(path, "old")
    with replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        assert partial.parent == tmp_path
        assert partial.suffix == ".partial"
    assert path.read_text() == "half"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.keras"
    write_bytes(path, b"old")

    def fail():
        with replacing(path, keeps_suffix=True) as partial:
            assert partial.suffix == ".keras"
            partial.write_bytes(b"half of a mod")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space") as raised:
        fail()
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = []
    plain_fsync, plain_replace = os.fsync, os.replace

    def fsync(descriptor):
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        plain_fsync(descriptor)

    def replace(source, destination):
        calls.append("replace")
        plain_replace(source, destination)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "a", "1")
    assert calls == [str(tmp_path / ".a.partial"), "replace", str(tmp_path)]


def test_require_writable_leaves_nothing(tmp_path):
    require_writable(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="missing"):
        require_writable(tmp_path / "missing" / "a")
