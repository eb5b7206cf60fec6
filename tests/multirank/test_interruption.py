"""Ctrl-C of a run without checkpoints says what remains, on the terminal and in the log."""

import signal

import pytest

from tests.support.program import PIPELINE, hvd_imgcls, running


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_ctrl_c_ends_with_130_and_the_log_says_so(size, tmp_path):
    words = hvd_imgcls(
        "train", PIPELINE, "--run_dir", "run", "--train.num_epochs", "500", "--checkpoint=null"
    )
    with running(words, size=size, cwd=tmp_path) as program:
        program.wait_for_output("epoch 1/500", 120)
        program.process.send_signal(signal.SIGINT)
        assert program.wait(30) == 130, program.output
    how = "stopped by SIGINT" if size == 1 else "stopped by SIGTERM"
    said = f"{how}; log and metrics up to here are in run"
    assert program.output.count(said) == 1, program.output
    assert "Traceback" not in program.output
    assert said in (tmp_path / "run" / "log.txt").read_text()
    if size > 1:
        assert "horovodrun: interrupted by SIGINT; the job was stopped" in program.output
        assert "ended first" not in program.output
