"""One arm of `bench dynamic`: trains, with the last rank at half speed if asked.

    python -m hvd_imgcls.bench.comparisons.dynamic_rank RESULT PIPELINE ALLOCATION IS_SLOW

RESULT receives the images per second of every epoch.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.run_directory.paths import RunDir

# Much shorter than a step, and much longer than a signal takes.
_TURN_SECONDS = 0.01


def main(words: list[str]) -> int:
    """Trains in a child process and writes its rates; returns its exit code."""
    result, pipeline, allocation, is_slow = words
    rank, size = launched_rank_and_size()
    run_dir = Path(result).with_name("run")
    command = [sys.executable, "-m", "hvd_imgcls", "train", pipeline]
    overrides = [f"--data.allocation={allocation}", f"--run_dir={run_dir}"]
    with subprocess.Popen([*command, *overrides]) as training:
        if int(is_slow) and rank == size - 1:
            _slow_down(training)
        code = training.wait()
    if rank == 0 and not code:
        lines = RunDir(run_dir).metrics.read_text(encoding="utf-8").splitlines()
        rates = [json.loads(line)["images_per_second"] for line in lines]
        Path(result).write_text(json.dumps(rates), encoding="utf-8")
    return code


def _slow_down(training: subprocess.Popen[bytes]) -> None:
    """Stops and continues a process in turns until it ends."""
    while training.poll() is None:
        training.send_signal(signal.SIGSTOP)
        time.sleep(_TURN_SECONDS)
        training.send_signal(signal.SIGCONT)
        time.sleep(_TURN_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
