"""Signals are received while the main thread waits in C, and only the first counts."""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import os, signal, sys, threading, time
from hvd_imgcls.stop_request import StopRequest
def end(number, is_polled):
    print("ended by", signal.Signals(number).name, flush=True)
    os._exit(9)
stop = StopRequest(end)
def send(number, after):
    threading.Timer(after, os.kill, (os.getpid(), number)).start()
"""


def run(body, *, allows_errors=False):
    program = PRELUDE + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert allows_errors or not done.stderr, done.stderr
    return done.returncode, done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
def test_a_signal_is_seen_while_a_call_in_c_goes_on(name):
    body = f"""
        import ctypes
        def look():
            time.sleep(0.6)
            os.write(1, (signal.Signals(stop.signal).name + "\\n").encode())
            os._exit(0)
        with stop.listening(), stop.polled():
            send(signal.{name}, 0.2)
            threading.Thread(target=look, daemon=True).start()
            # The main thread waits in C and is not even interrupted, as in TensorFlow.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            ctypes.CDLL(None).sleep(5)
        """
    assert run(body) == (0, [name])


def test_if_nobody_polls_the_process_ends():
    body = """
        with stop.listening():
            send(signal.SIGTERM, 0.1)
            time.sleep(5)
        """
    assert run(body) == (9, ["ended by SIGTERM"])


def test_a_second_interrupt_ends_it_but_not_a_second_sigterm():
    body = """
        with stop.listening(), stop.polled():
            for number in (signal.SIGTERM, signal.SIGTERM):
                os.kill(os.getpid(), number)
                time.sleep(0.2)
            print("first", signal.Signals(stop.signal).name, flush=True)
            os._exit(0)
        """
    assert run(body) == (0, ["first SIGTERM"])
    body = """
        with stop.listening(), stop.polled():
            for number in (signal.SIGINT, signal.SIGINT):
                os.kill(os.getpid(), number)
                time.sleep(0.2)
            time.sleep(5)
        """
    assert run(body) == (9, ["ended by SIGINT"])


def test_a_signal_that_nobody_asked_for_ends_the_process_after_the_polling():
    body = """
        with stop.listening():
            with stop.polled():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.2)
            print("not reached", flush=True)
        """
    assert run(body) == (9, ["ended by SIGTERM"])


def test_ignored_signals_stay_ignored_and_handlers_come_back():
    body = """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        before = [signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)]
        with stop.listening(), stop.polled():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.2)
            assert not stop.signal
        after = [signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)]
        print(before == after, signal.set_wakeup_fd(-1), flush=True)
        """
    assert run(body) == (0, ["True -1"])


def test_in_another_thread_nothing_is_received():
    body = """
        def work():
            with stop.listening():
                print("worked", flush=True)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """
    assert run(body) == (0, ["worked"])


def test_a_signal_before_the_polling_is_left_to_it():
    """The process would end alone, in the middle of a step of all ranks."""
    body = """
        os.environ.update(HOROVOD_RANK="0", HOROVOD_SIZE="2")
        from hvd_imgcls import interruption
        interruption.GRACE_SECONDS = 0.5
        stop = StopRequest(interruption.end_by_signal)
        with stop.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            with stop.polled():
                time.sleep(1)
                print("still there, asked by", signal.Signals(stop.signal).name, flush=True)
        time.sleep(1)
        """
    code, lines = run(body, allows_errors=True)
    assert (code, lines) == (143, ["still there, asked by SIGTERM"])
