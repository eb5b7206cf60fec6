import io
import logging
import os

import pytest

from hvd_imgcls import logs
from hvd_imgcls.cli import exit_code_of, main
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.text.printable import printable, printable_text

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eabc\u2028\r\x00\udcff"


def test_no_control_character_is_left():
    for text in (printable_text(ESCAPES), printable(ESCAPES + "\n\t")):
        assert text.isprintable()
    assert printable_text("a\n\tb \u00e9 \u4e2d") == "a\n\tb \u00e9 \u4e2d"


def test_errors_on_the_terminal_have_no_escape_sequences(capsys):
    assert exit_code_of(lambda: main(["plan", f"{ESCAPES}.yaml"])) == 2
    error = capsys.readouterr().err
    assert "title" in error
    assert error.replace("\n", "").isprintable()


def test_log_lines_have_no_escape_sequences(tmp_path, monkeypatch):
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    logs.start(Topology.single())
    logs.add_file(tmp_path / "log.txt", Topology.single())
    logging.getLogger(logs.LOGGER_NAME).info("note: %s", ESCAPES)
    logs.stop()
    for text in (output.getvalue(), (tmp_path / "log.txt").read_text()):
        assert "title" in text
        assert text.count("\n") == 1
        assert text.strip().isprintable()


def test_a_name_is_one_line():
    assert printable("a\nerror: all is lost.jpg") == r"a\nerror: all is lost.jpg"
    assert printable(os.fsdecode(b"\xff.jpg")) == r"\xff.jpg"


@pytest.mark.parametrize("value", ["x", "", "-1", "1.5", "9" * 20, "\u0663"])
def test_variables_of_launchers_are_numbers(value, capsys, monkeypatch):
    monkeypatch.setenv("HOROVOD_RANK", value)
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    assert exit_code_of(lambda: main(["plan", "pipelines/digits_cnn.yaml"])) == 2
    assert capsys.readouterr().err.startswith("error: HOROVOD_RANK: got")


def test_a_size_of_zero_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("HOROVOD_RANK", "0")
    monkeypatch.setenv("HOROVOD_SIZE", "0")
    assert exit_code_of(lambda: main(["plan", "pipelines/digits_cnn.yaml"])) == 2
    assert "HOROVOD_RANK" in capsys.readouterr().err


def test_another_backend_of_keras_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ConfigError, match="KERAS_BACKEND"):
        main(["plan", "pipelines/digits_cnn.yaml"])


@pytest.mark.parametrize("run_dir", ["", "x" * 300, "a/" + "x" * 300, "x/" * 3000, '"a\\0b"'])
def test_names_that_no_directory_has_are_refused(run_dir):
    with pytest.raises(ConfigError, match="run_dir"):
        main(["plan", "pipelines/digits_cnn.yaml", f"--run_dir={run_dir or repr('')}"])


@pytest.mark.parametrize("key", ["train.num_epochs", "train.global_batch_size"])
@pytest.mark.parametrize("digits", [20, 4000])
def test_numbers_of_many_digits_are_refused(key, digits):
    with pytest.raises(ConfigError, match=key) as refusal:
        main(["plan", "pipelines/digits_cnn.yaml", f"--{key}={'9' * digits}"])
    assert len(str(refusal.value)) < 500
