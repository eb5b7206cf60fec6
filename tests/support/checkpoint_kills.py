"""Kills processes that write checkpoints. Run as a program, without TensorFlow, it forks them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.checkpoint_disks import KillingDisk
from tests.support.checkpoint_scenarios import SCENARIOS
from tests.support.checkpoint_variants import STORES


class KillingProcess:
    """A process that starts and kills others."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def kill(self, directory, scenario, number, *, is_within=False, store="sound"):
        """Runs a scenario and kills it after a number of calls; asserts that it was killed.

        Args:
            directory: The directory of the store.
            scenario: Name of the scenario.
            number: How many calls are made.
            is_within: Whether the last one is a write, of which only half is done.
            store: Name of the variant of the store.
        """
        request = [str(directory), scenario, number, is_within, store]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == str(-signal.SIGKILL)

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


def _run(directory, scenario, number, is_within, store):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        disk = KillingDisk(number, is_within)
        SCENARIOS[scenario].operate(STORES[store](Path(directory), disk))
    finally:
        os._exit(1)


if __name__ == "__main__":
    for line in sys.stdin:
        print(_run(*json.loads(line)), flush=True)  # noqa: T201 - the answer
