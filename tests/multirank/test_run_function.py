"""`hvd_imgcls.run`: a function on several ranks, what it returns and how it fails."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np
import psutil
import pytest

import hvd_imgcls
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.launcher.functions import RanksFailedError
from tests.support.hosts import Hosts, needs_hosts

pytestmark = [pytest.mark.ranks(2), pytest.mark.timeout(120)]


def test_results_come_back_by_rank_and_the_function_may_be_local():
    offset = np.arange(3)

    def place(factor, *, more):
        rank, size = int(os.environ["HOROVOD_RANK"]), os.environ["HOROVOD_SIZE"]
        return {"rank": rank * factor, "size": size, "array": offset + more, "none": None}

    found = hvd_imgcls.run(place, (10,), {"more": 1}, np=3)
    assert [one["rank"] for one in found] == [0, 10, 20]
    assert {one["size"] for one in found} == {"3"}
    for one in found:
        assert one["array"].dtype == offset.dtype
        np.testing.assert_array_equal(one["array"], [1, 2, 3])


def test_ranks_communicate(tmp_path):
    def total():
        import hvd_imgcls.keras as hvd

        hvd.init()
        return float(hvd.allreduce(np.float32(hvd.rank() + 1), op=hvd.Sum))

    assert hvd_imgcls.run(total, np=2, output=str(tmp_path)) == [3.0, 3.0]
    assert {path.name for path in tmp_path.iterdir()} == {"rank-0.txt", "rank-1.txt"}


def test_exceptions_of_ranks_are_one_exception_with_all_tracebacks():
    def fail():
        if os.environ["HOROVOD_RANK"] == "1":
            raise ValueError("planted")
        time.sleep(60)

    began = time.monotonic()
    with pytest.raises(RanksFailedError, match="planted") as caught:
        hvd_imgcls.run(fail, np=2)
    assert time.monotonic() - began < 20
    assert list(caught.value.tracebacks) == [1]
    assert "Traceback" in caught.value.tracebacks[1]
    assert "rank 1 on localhost ended first, with exit code 1" in str(caught.value)


def test_a_rank_that_is_killed_is_named():
    def die():
        if os.environ["HOROVOD_RANK"] == "0":
            os.kill(os.getpid(), 9)
        time.sleep(60)

    with pytest.raises(RanksFailedError, match="rank 0 on localhost ended first, by SIGKILL"):
        hvd_imgcls.run(die, np=2)


def test_what_cannot_be_sent_back_is_said():
    with pytest.raises(RanksFailedError, match="expected numbers, text"):
        hvd_imgcls.run(object, np=1)
    with pytest.raises(ConfigError, match="-np"):
        hvd_imgcls.run(lambda: 1, np=3, hosts="localhost:2")


def test_a_keyboard_interrupt_ends_the_ranks(tmp_path):
    def say_and_sleep():
        (tmp_path / os.environ["HOROVOD_RANK"]).touch()
        time.sleep(60)

    def interrupt():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    # The tests may be a background job, which has no such handler.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            hvd_imgcls.run(say_and_sleep, np=2)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - began < 40
    assert not [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "function_rank" in str(process.cmdline())
    ]


@needs_hosts
def test_on_other_hosts(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import socket, sys, hvd_imgcls\n"
        "print(hvd_imgcls.run(socket.gethostname, np=3, hosts='h1:1,h2:2'))\n"
    )

    with (
        Hosts(2) as hosts,
        hosts.program(1, [sys.executable, str(script)], tmp_path, {}) as program,
    ):
        assert program.wait(60) == 0, program.output
        assert "['h1', 'h2', 'h2']" in program.output
