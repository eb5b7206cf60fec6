"""Tab completion, tried in a real shell."""

import shutil
import subprocess

import pytest

from hvd_imgcls.commands.command_list import COMMANDS
from hvd_imgcls.commands.completion import script_for

_COMPLETE = """
source script.bash
complete_words() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  $(complete -p hvd-imgcls | sed 's/.*-F \\([^ ]*\\).*/\\1/') hvd-imgcls "${@: -1}" "${@: -2:1}"
  echo "${COMPREPLY[*]}"
}
"""


@pytest.fixture
def completed(tmp_path):
    """A function from the words of a command line to what bash offers for the last one."""
    (tmp_path / "script.bash").write_text(script_for("bash"))
    (tmp_path / "my.yaml").touch()
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "runs").mkdir()

    def complete(*words):
        program = f'{_COMPLETE}complete_words hvd-imgcls "$@"'
        output = subprocess.run(
            ["bash", "-c", program, "bash", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return output.stdout.split()

    return complete


def test_commands_options_keys_and_pipelines_are_completed(completed):
    assert set(COMMANDS) <= set(completed(""))
    assert completed("train", "digits_cn") == ["digits_cnn"]
    assert completed("train", "m") == ["my.yaml"]
    assert completed("train", "digits_cnn", "--schedule.base_l") == [
        "--schedule.base_learning_rate"
    ]
    assert completed("models", "--im") == ["--image-size"]
    assert completed("keys", "opt") == ["optimizer"]


def test_files_are_completed(completed):
    assert completed("predict", "ru") == ["runs"]
    assert completed("predict", "runs", "ph") == ["photo.jpg"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_script_for_zsh_has_no_syntax_error(tmp_path):
    (tmp_path / "_hvd-imgcls").write_text(script_for("zsh"))
    subprocess.run(["zsh", "-n", tmp_path / "_hvd-imgcls"], check=True, timeout=30)
