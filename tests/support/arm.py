"""An arm for the tests of `bench.measuring.turns`: works, and works on after it has returned.

python -m tests.support.arm CORE FOREGROUND_SECONDS BACKGROUND_SECONDS
"""

import sys
import threading
import time

from hvd_imgcls.bench.measuring.window import Turns


def spin(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def work():
    sys.stdout.write("what a library says is not taken for a number\n")
    # As a dataset that reads ahead while nobody waits for it.
    threading.Thread(target=spin, args=[float(sys.argv[3])]).start()
    spin(float(sys.argv[2]))
    return 2


if __name__ == "__main__":
    turns = Turns(int(sys.argv[1]))
    if sys.argv[2] == "fail":
        raise RuntimeError("this arm is broken")
    turns.serve(work)
