"""A baseline in a process of its own beside each rank, which takes turns with the rank."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hvd_imgcls.bench.communication.raw_tcp import address_of
from hvd_imgcls.bench.network.link import BASELINE_RENDEZVOUS_PORT
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.errors import HvdImgclsError

TORCH_SCRIPT = Path(__file__).with_name("raw_gloo.py")


class Peer:
    """The process of one rank; those of all ranks communicate among themselves.

    Args:
        name: Its name, for messages.
        command: The command. It writes a line when it is ready, and answers lines.
        environment: All its variables.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()
        self._errors.close()

    def read(self) -> str:
        """Returns its next line.

        Raises:
            HvdImgclsError: If it has ended, with the end of its output.
        """
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            end = self._errors.read().decode(errors="replace").splitlines()[-15:]
            raise HvdImgclsError(f"{self._name} ended:\n" + "\n".join(end))
        return line.strip()

    def ask(self, request: str) -> float:
        """Sends a line and returns the number in the answer: seconds.

        Collective: every rank must call this, with the same request.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
        return float(self.read())


def start_torch(ranks: Collectives, python: Path) -> Peer:
    """Starts PyTorch's allreduce over Gloo. Its first line has the version.

    Collective: every rank must call this.

    Args:
        ranks: The ranks.
        python: Interpreter of an environment with PyTorch.
    """
    with socket.create_server(("0.0.0.0", 0)) as server:
        mine = [address_of(ranks), str(server.getsockname()[1])]
    address, port = ranks.broadcast_json(mine)
    words = [str(ranks.topology.rank), str(ranks.topology.size), address, port]
    hidden = ("HOROVOD_", "PYTHONPATH", "OMP_NUM_THREADS")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return Peer(
        "PyTorch", [str(python), str(TORCH_SCRIPT), *words], {**variables, "OMP_NUM_THREADS": "1"}
    )


def start_plain_horovod(compute_seconds: float) -> Peer:
    """Starts steps with plain Horovod, with its own settings and not with ours.

    `HOROVOD_DISABLE_GROUP_FUSION`, which is our default, makes Horovod send all gradients one by
    one that are not in a group.

    Collective: every rank must call this, on hosts of a simulated network.

    Args:
        compute_seconds: See `StepWork`.
    """
    ours = ("HOROVOD_DISABLE_GROUP_FUSION", "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS")
    variables = {key: value for key, value in os.environ.items() if key not in ours}
    variables["HOROVOD_GLOO_RENDEZVOUS_PORT"] = str(BASELINE_RENDEZVOUS_PORT)
    module = "hvd_imgcls.bench.communication.plain_rank"
    command = [sys.executable, "-m", module, str(compute_seconds)]
    return Peer("plain Horovod", command, variables)
