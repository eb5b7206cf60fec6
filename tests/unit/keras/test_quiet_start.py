"""A program that imports our module first sees no start-up messages of TensorFlow."""

import os
import subprocess
import sys

import pytest

from tests.support.launch import ROOT

PROGRAM = "import hvd_imgcls.keras as hvd, tensorflow as tf; tf.constant(1) + 1; print('ready')"


@pytest.mark.parametrize("level", [None, pytest.param("0", marks=pytest.mark.slow)])
def test_start_up_messages_are_shown_only_if_asked_for(level):
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("TF_CPP")}
    environment |= {"PYTHONPATH": str(ROOT), **({"TF_CPP_MIN_LOG_LEVEL": level} if level else {})}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == "ready\n"
    assert bool(done.stderr) == (level == "0"), done.stderr
