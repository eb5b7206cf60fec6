"""One arm of `bench dynamic`: trains, with the last rank at half speed if asked.

    python -m hvd_imgcls.bench.comparisons.dynamic_rank RESULT PIPELINE ALLOCATION IS_SLOW

RESULT receives the images per second of every epoch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.run_directory.paths import RunDir

# Stops and continues its parent in turns, as long as that lives.
_SLOW_DOWN = """
import os, signal, time
parent = os.getppid()
while os.getppid() == parent:
    os.kill(parent, signal.SIGSTOP)
    time.sleep(0.01)
    os.kill(parent, signal.SIGCONT)
    time.sleep(0.01)
"""


def main(words: list[str]) -> None:
    """Trains and writes the rates."""
    result, pipeline, allocation, is_slow = words
    rank, size = launched_rank_and_size()
    slowing = None
    if int(is_slow) and rank == size - 1:
        slowing = subprocess.Popen([sys.executable, "-c", _SLOW_DOWN])
    from hvd_imgcls.config import load_config
    from hvd_imgcls.train import train

    run_dir = Path(result).with_name("run")
    overrides = [f"--data.allocation={allocation}", f"--run_dir={run_dir}"]
    train(load_config(Path(pipeline), overrides))
    if slowing is not None:
        slowing.kill()
        slowing.wait()
    if rank == 0:
        lines = RunDir(run_dir).metrics.read_text(encoding="utf-8").splitlines()
        rates = [json.loads(line)["images_per_second"] for line in lines]
        Path(result).write_text(json.dumps(rates), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
