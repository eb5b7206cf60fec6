"""`bench peers`: a step of ResNet-20 on two ranks, compared with other frameworks.

The other frameworks are installed into the cache on first use: tf-keras, and an environment
with PyTorch, which is large.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.comparisons.precision import train
from hvd_imgcls.bench.measuring.launching import environment, launcher
from hvd_imgcls.bench.measuring.rates import RunArm, measure_rates, rate_ratio
from hvd_imgcls.errors import HvdImgclsError, SetupError

logger = logging.getLogger(__name__)

NETWORK, GLOBAL_BATCH, STEPS, SIZE = "resnet20", 128, 30, 2
OURS = "ours"
HOROVOD = "Horovod with tf-keras"
WORKERS = "MultiWorkerMirroredStrategy"
TORCH = "PyTorch DDP over gloo"
GOALS = {HOROVOD: 1.2, WORKERS: 1.4, TORCH: 1.0}

CACHE = Path("~/.cache/hvd-imgcls/peers")
TF_KERAS, PYTORCH, TORCHVISION = "tf-keras==2.21.*", "torch==2.13.*", "torchvision"


def run(rounds: int, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Measures all arms in turn and returns our ratios to the others.

    Args:
        rounds: Turns of each arm.
        without: Baselines to skip: `torch`.
    """
    cache = CACHE.expanduser()
    tf_keras = install_tf_keras(cache)
    arms: dict[str, RunArm] = {
        OURS: functools.partial(train, NETWORK, "float32", GLOBAL_BATCH, STEPS, size=SIZE),
        HOROVOD: functools.partial(_horovod, tf_keras),
        WORKERS: functools.partial(_workers, tf_keras),
    }
    if "torch" not in without:
        arms[TORCH] = functools.partial(_torch, torch_python(cache))
    logger.info("%s, global batch %d, 2 processes: %d rounds ...", NETWORK, GLOBAL_BATCH, rounds)
    rates = measure_rates(arms, rounds=rounds, global_batch=GLOBAL_BATCH)
    return {
        name: rate_ratio(rates, OURS, name, goal) for name, goal in GOALS.items() if name in arms
    }


def install_tf_keras(cache: Path) -> Path:
    """Returns a folder with only tf-keras; TensorFlow and the rest are the installed ones."""
    folder = cache / "tf-keras"
    if not (folder / "tf_keras").is_dir():
        logger.info("installing %s into %s ...", TF_KERAS, folder)
        _install([sys.executable, "-m", "pip", "install", "-q", "--no-deps"], folder, TF_KERAS)
    return folder


def _install(command: list[str], folder: Path, requirement: str) -> None:
    finished = subprocess.run(
        [*command, "--target", str(folder), requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SetupError(
            f"{requirement} could not be installed: {finished.stderr.strip()[-400:]}",
            fix="see the output of pip",
        )


def torch_python(cache: Path, *, with_torchvision: bool = False) -> Path:
    """Returns the Python interpreter of an environment with PyTorch, installed if necessary.

    Args:
        cache: Folder of the environments.
        with_torchvision: Whether torchvision is required too.

    Raises:
        SetupError: If it could not be installed.
    """
    python = cache / "torch" / "bin" / "python"
    needed = "import torch, torchvision" if with_torchvision else "import torch"
    works = (
        python.exists()
        and not subprocess.run(
            [str(python), "-c", needed], capture_output=True, check=False
        ).returncode
    )
    if works:
        return python
    logger.info("installing %s into %s: several gigabytes ...", PYTORCH, cache / "torch")
    subprocess.run([sys.executable, "-m", "venv", str(cache / "torch")], check=True)
    others = [TORCHVISION] if with_torchvision else []
    finished = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", PYTORCH, "numpy", *others],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SetupError(
            f"{PYTORCH} could not be installed: {finished.stderr.strip()[-400:]}",
            fix="skip it: `bench peers --without torch`, or `bench input` without row i",
        )
    return python


def _horovod(tf_keras: Path) -> list[float]:
    words = ["-m", "hvd_imgcls.bench.comparisons.peer_keras", "{result}", *_work(), "horovod"]
    return _run([[*launcher(SIZE), sys.executable, *words]], [with_tf_keras(tf_keras)])


def _workers(tf_keras: Path) -> list[float]:
    addresses = [f"localhost:{port}" for port in _free_ports(SIZE)]
    words = ["-m", "hvd_imgcls.bench.comparisons.peer_keras", "{result}", *_work(), "multi_worker"]
    environments = [
        {
            **with_tf_keras(tf_keras),
            "TF_CONFIG": json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
            ),
        }
        for number in range(SIZE)
    ]
    return _run(
        [[*_pinned(number), sys.executable, *words] for number in range(SIZE)], environments
    )


def _torch(python: Path) -> list[float]:
    script = Path(__file__).with_name("peer_torch.py")
    (port,) = _free_ports(1)
    environments = [
        {
            **environment(1, os.environ),
            "PYTHONPATH": "",
            "RANK": str(number),
            "WORLD_SIZE": str(SIZE),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for number in range(SIZE)
    ]
    words = [str(python), str(script), "{result}", *_work()]
    return _run([[*_pinned(number), *words] for number in range(SIZE)], environments)


def _work() -> list[str]:
    """Returns global batch size, steps and threads, as arguments of the arms."""
    return [str(GLOBAL_BATCH), str(STEPS), "1"]


def with_tf_keras(folder: Path) -> dict[str, str]:
    """Returns the environment of a process with one thread and tf-keras as Keras."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {**environment(1, os.environ), "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": path}


def _pinned(number: int) -> list[str]:
    """Returns the command prefix that pins a process to one core, as our ranks are pinned."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[number % len(cores)])]


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _run(commands: list[list[str]], environments: list[dict[str, str]]) -> list[float]:
    """Runs the processes of an arm in parallel; returns the measurements of the first one.

    Raises:
        HvdImgclsError: If one of them fails, with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as directory:
        result = Path(directory) / "result.json"
        outputs = [Path(directory, f"{number}.txt") for number in range(len(commands))]
        processes = []
        for words, its_environment, output in zip(commands, environments, outputs, strict=True):
            with output.open("wb") as file:
                processes.append(
                    subprocess.Popen(
                        [word.format(result=result) for word in words],
                        env=its_environment,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
        try:
            codes = [process.wait(timeout=600) for process in processes]
        finally:
            for process in processes:
                process.kill()
        if any(codes) or not result.exists():
            end = "\n".join(
                line
                for output in outputs
                for line in output.read_text(errors="replace").splitlines()[-20:]
            )
            raise HvdImgclsError(f"{' '.join(commands[0])} ended with {codes}:\n{end}")
        seconds: list[float] = json.loads(result.read_text(encoding="utf-8"))
        return seconds
