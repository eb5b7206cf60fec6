"""What happens to the run directory and the images while a run goes on, or between its launches."""

import contextlib
import json
import shutil
import subprocess

import pytest

from tests.support.program import PIPELINE, hvd_imgcls, running
from tests.support.survival import (
    ENVIRONMENT,
    ended,
    result_of,
    run_to_the_end,
    run_with_fault,
    running_with_fault,
    twin,
)
from tests.support.trainings import TRAININGS, write_images

OPTIONS = TRAININGS["plain"](None).options
DAMAGE, DISKS = "one flipped bit in a checkpoint", "full, read-only and removed directories"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run on two ranks that was killed; it has two checkpoints."""
    directory = tmp_path_factory.mktemp("killed")
    run_with_fault(directory, "kill@before_step:rank=1:step=40", size=2, options=OPTIONS)
    checkpoints = directory / "run" / "checkpoints"
    assert len(list(checkpoints.glob("step-*[0-9]"))) == 2
    return directory


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.matrix(DAMAGE)
@pytest.mark.parametrize(
    "name",
    ["state.json", "state.bin", "ranks.json", "ranks.bin", "manifest.json", "latest.json"],
)
def test_one_flipped_bit_in_the_newest_checkpoint(name, killed, tmp_path):
    shutil.copytree(killed / "run", tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    newest = max(checkpoints.glob("step-*[0-9]"))
    damaged = checkpoints / name if name == "latest.json" else newest / name
    flip_a_bit(damaged)
    outcome = run_to_the_end(tmp_path, size=2, options=OPTIONS)
    assert name in warnings_of(outcome.output), outcome.output
    is_passed_over = name != "latest.json"
    assert (checkpoints / f"damaged-{newest.name}").exists() == is_passed_over
    assert f"continuing run after step {35 - 7 * is_passed_over} " in outcome.output
    assert result_of(tmp_path, outcome) == twin(2, OPTIONS)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def warnings_of(output):
    """Returns the lines before the plan, in which warnings about checkpoints are."""
    return output.partition("continuing run")[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix("images in another folder")
def test_images_may_be_moved_between_two_launches(tmp_path):
    before, after = tmp_path / "before", tmp_path / "elsewhere" / "after"
    write_images(before)
    options = (
        "--data.image_size=12",
        "--train.num_epochs=3",
        "--train.global_batch_size=12",
        "--checkpoint.every_steps=5",
        "--evaluation.every_epochs=1",
        "--logging={tensorboard: false, report: false}",
    )

    def at(folder):
        source = f"--data.source={{name: image_folder, path: {folder}, held_out_fraction: 0.2}}"
        return (source, *options)

    expected = twin(2, at(before))
    run_with_fault(tmp_path, "kill@before_step:rank=1:step=14", size=2, options=at(before))
    after.parent.mkdir()
    before.rename(after)
    outcome = run_to_the_end(tmp_path, size=2, options=at(after))
    assert "continuing run after step 10 " in outcome.output
    assert result_of(tmp_path, outcome) == expected


@contextlib.contextmanager
def small_disk(path, size):
    """Mounts a disk in memory; skips the test where that is not allowed."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=20)


@pytest.mark.slow
@pytest.mark.matrix(DISKS)
@pytest.mark.parametrize("size", ["1m", "2m", "3m"])
def test_a_disk_that_is_too_small(size, tmp_path):
    with small_disk(tmp_path / "run", size):
        with running_with_fault(tmp_path, "", size=1, options=OPTIONS) as program:
            outcome = ended(program)
        assert "Traceback" not in outcome.output, outcome.output
        assert "could not be saved" in outcome.output, outcome.output
        assert "No space left on device" in outcome.output
        # Training went on to its last step.
        assert "step 87/87" in outcome.output, outcome.output
        if outcome.exit_code:
            require_named(outcome, "No space left on device")


def make_read_only(path):
    """Puts a read-only copy of a directory over it; skips the test where that is not allowed."""
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    for words in (["--bind", str(copy), str(path)], ["-o", "remount,bind,ro", str(path)]):
        done = subprocess.run(
            ["mount", *words], capture_output=True, text=True, check=False, timeout=20
        )
        if done.returncode:
            pytest.skip(f"no directory can be made read-only: {done.stderr.strip()}")


@pytest.mark.slow
@pytest.mark.matrix(DISKS)
def test_the_run_directory_becomes_read_only(tmp_path):
    fault = "pause@before_step:rank=0:step=15"
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(running_with_fault(tmp_path, fault, size=1, options=OPTIONS))
        program.wait_for_output("FAULT ", 100)
        stack.callback(
            subprocess.run, ["umount", "--lazy", str(tmp_path / "run")], check=False, timeout=20
        )
        make_read_only(tmp_path / "run")
        outcome = ended(program)
    require_named(outcome, "Read-only file system")
    assert "could not be saved" in outcome.output, outcome.output


def require_named(outcome, why):
    """Requires an error that names the file and the reason, without a traceback."""
    assert "Traceback" not in outcome.output, outcome.output
    assert outcome.exit_code == 2, outcome.output
    (error,) = [line for line in outcome.output.splitlines() if "error: " in line]
    assert "run/" in error, outcome.output
    assert why in error, outcome.output


@pytest.mark.slow
@pytest.mark.matrix(DISKS)
def test_the_run_directory_is_removed(tmp_path):
    fault = "pause@before_step:rank=0:step=15"
    with running_with_fault(tmp_path, fault, size=1, options=OPTIONS) as program:
        program.wait_for_output("FAULT ", 100)
        shutil.rmtree(tmp_path / "run")
        outcome = ended(program)
    assert "could not be saved" in outcome.output, outcome.output
    assert "it was removed while the run goes on" in outcome.output, outcome.output
    assert "Traceback" not in outcome.output, outcome.output
    # No half of a run is left, without its configuration.
    assert outcome.exit_code == 2, outcome.output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.matrix("commands at the same moment")
@pytest.mark.parametrize("name", ["here", None])
def test_two_commands_at_the_same_moment(name, tmp_path):
    options = [f"--run_dir={name}"] if name else []
    words = hvd_imgcls("train", PIPELINE, *OPTIONS, *options)
    with (
        running(words, size=1, cwd=tmp_path, environment=ENVIRONMENT) as first,
        running(words, size=1, cwd=tmp_path, environment=ENVIRONMENT) as second,
    ):
        outcomes = [ended(first, within=200), ended(second, within=200)]
    codes = sorted(outcome.exit_code for outcome in outcomes)
    output = "\n".join(outcome.output for outcome in outcomes)
    assert codes == ([0, 2] if name else [0, 0]), output
    directories = [tmp_path / "here"] if name else sorted((tmp_path / "runs").iterdir())
    assert len(directories) == (1 if name else 2)
    for directory in directories:
        assert json.loads((directory / "status.json").read_text())["state"] == "finished"
    if name:
        assert "is writing" in output
    # What each of them says about its weights is the same.
    assert len({line for line in output.splitlines() if "identical on all ranks" in line}) == 1
