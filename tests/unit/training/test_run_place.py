"""Which directory a command trains in: that of an unfinished run, or a new one."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hvd_imgcls.config import load_config, to_yaml
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.run_directory.lock import RunLock
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import State, read_status, write_status
from hvd_imgcls.workflows.startup.run_place import take_place


def configured(*overrides):
    return load_config("digits_cnn", overrides)


def leave(path, config, state=State.STOPPED):
    path.mkdir(parents=True, exist_ok=True)
    files = RunDir(path)
    files.config.write_text(to_yaml(config))
    write_status(files, state)
    return files


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Takes a place in an empty directory; releases all at the end."""
    monkeypatch.chdir(tmp_path)
    taken = []

    def take(config, **keywords):
        taken.append(take_place(config, "digits", **keywords))
        return str(taken[-1].files.path), taken[-1].is_continued

    yield take
    for one in taken:
        one.lock.release()


def test_without_a_name_the_last_unfinished_run_of_the_same_configuration(place):
    config = configured()
    assert place(config) == ("runs/digits-1", False)
    leave(Path("runs/digits-2"), config)
    leave(Path("runs/digits-3"), configured("--train.seed=5"))
    leave(Path("runs/digits-4"), config, State.FINISHED)
    assert place(config) == ("runs/digits-2", True)
    # That one is being written now, as the first is.
    assert place(config) == ("runs/digits-5", False)


def test_fresh_leaves_the_unfinished_run_as_it_is(place):
    config = configured()
    leave(Path("runs/digits-1"), config)
    assert place(config, is_fresh=True) == ("runs/digits-2", False)
    named = configured("--run_dir=here")
    leave(Path("here"), named)
    assert place(named, is_fresh=True) == ("here-2", False)


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.RUNNING])
def test_a_named_run_is_continued_whatever_ended_it(place, state):
    config = configured("--run_dir=here")
    assert place(configured("--run_dir=new")) == ("new", False)
    leave(Path("here"), config, state)
    assert place(config) == ("here", True)


def test_a_finished_run_is_an_error_unless_it_is_to_train_longer(place):
    leave(Path("here"), configured("--train.num_epochs=3"), State.FINISHED)
    with pytest.raises(ConfigError, match=r"here, which holds a finished run.*--fresh.*longer"):
        place(configured("--train.num_epochs=3", "--run_dir=here"))
    assert place(configured("--train.num_epochs=4", "--run_dir=here")) == ("here", True)


def test_another_configuration_is_an_error_that_shows_each_key(place):
    leave(Path("here"), configured("--train.num_epochs=3"))
    with pytest.raises(ConfigError) as raised:
        place(configured("--run_dir=here", "--train.num_epochs=2", "--train.seed=7"))
    text = str(raised.value)
    assert "train.num_epochs: 3 there, 2 here" in text
    assert "train.seed: 0 there, 7 here" in text
    assert "run_dir:" not in text.partition("\n")[2]


@pytest.mark.parametrize(
    "override",
    [
        "--logging.report=false",
        "--checkpoint.every_steps=3",
        "--checkpoint=null",
        "--data.cache=decoded",
    ],
)
def test_what_does_not_change_the_result_may_change(place, override):
    leave(Path("here"), configured())
    assert place(configured("--run_dir=here", override)) == ("here", True)


def test_images_may_lie_elsewhere(place):
    source = "--data.source={{name: image_folder, path: {}}}"
    leave(Path("here"), configured(source.format("a"), "--data.image_size=8"))
    other = configured(source.format("b"), "--data.image_size=8", "--run_dir=here")
    assert place(other) == ("here", True)


def test_files_of_a_run_without_its_configuration_are_an_error(place):
    Path("here").mkdir()
    Path("here/model.keras").touch()
    with pytest.raises(ConfigError, match=r"but no config\.yaml"):
        place(configured("--run_dir=here"))


def test_a_directory_that_is_written_is_an_error_that_names_the_process(place):
    config = configured("--run_dir=here")
    place(config)
    with pytest.raises(ConfigError, match=r"here, which process \d+ on .* is writing"):
        place(config)


def test_the_lock_goes_with_the_process_whatever_ends_it(tmp_path):
    program = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from hvd_imgcls.run_directory.lock import RunLock, is_locked
        lock = RunLock(Path({str(tmp_path)!r}))
        print(is_locked(Path({str(tmp_path)!r})), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-9, "True\n")
    RunLock(tmp_path).release()


def test_a_run_that_was_killed_says_so(tmp_path):
    files = leave(tmp_path, configured(), State.RUNNING)
    assert read_status(files).state is State.KILLED
    lock = RunLock(tmp_path)
    assert read_status(files).state is State.RUNNING
    lock.release()
    write_status(files, State.FAILED, "no data")
    assert read_status(files).text == "failed: no data"
    files.status.write_text("[]")
    assert read_status(files).state is State.KILLED
    files.summary.write_text("{}")
    assert read_status(files).state is State.FINISHED
