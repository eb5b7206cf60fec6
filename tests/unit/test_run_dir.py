import json

import pytest

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.digest import digest
from hvd_imgcls.files.json_files import write_json
from hvd_imgcls.run_directory.creation import begin, begin_next, free_beside


def test_begin_next_takes_the_first_free_number(tmp_path):
    parent = tmp_path / "runs"
    names = [begin_next("digits", parent).path.name for _ in range(3)]
    assert names == ["digits-1", "digits-2", "digits-3"]


def test_begin_in_an_empty_directory_uses_it(tmp_path):
    assert begin(tmp_path / "a" / "b").path.is_dir()
    assert begin(tmp_path / "a" / "b").path.is_dir()


def test_begin_where_a_file_is_raises_config_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="run_dir"):
            begin(path)


def test_free_beside_is_the_first_directory_without_a_run(tmp_path):
    for name in ("run", "run-2", "run-3"):
        (tmp_path / name).mkdir()
    (tmp_path / "run-2" / "config.yaml").touch()
    assert free_beside(tmp_path / "run") == tmp_path / "run-3"


def test_write_json_of_equal_values_writes_equal_bytes_and_no_leftovers(tmp_path):
    for name in ("a", "b"):
        write_json(tmp_path / name, {"number": 0.1, "name": "é"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text(encoding="utf-8"))["name"] == "é"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_write_json_of_what_json_has_not_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a", float("nan"))
    assert (tmp_path / "a").read_text() == "1\n"
