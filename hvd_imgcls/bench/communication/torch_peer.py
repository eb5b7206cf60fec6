"""A rank's PyTorch process, which takes turns with the rank."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from hvd_imgcls.bench.communication.raw_tcp import address_of
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.errors import HvdImgclsError

SCRIPT = Path(__file__).with_name("raw_gloo.py")


class TorchPeer:
    """The process of one rank; the processes of all ranks communicate over PyTorch's Gloo.

    Collective: every rank must create one, and measure the same.

    Args:
        ranks: The ranks.
        python: Interpreter of an environment with PyTorch.

    Attributes:
        version: Version of PyTorch.

    Raises:
        HvdImgclsError: If the processes cannot start, with the end of their output.
    """

    def __init__(self, ranks: Collectives, python: Path) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with socket.create_server(("0.0.0.0", 0)) as server:
            mine = [address_of(ranks), str(server.getsockname()[1])]
        address, port = ranks.broadcast_json(mine)
        topology = ranks.topology
        words = [str(topology.rank), str(topology.size), address, port]
        hidden = ("HOROVOD_", "PYTHONPATH", "OMP_NUM_THREADS")
        self._process = subprocess.Popen(
            [str(python), str(SCRIPT), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={key: value for key, value in os.environ.items() if not key.startswith(hidden)}
            | {"OMP_NUM_THREADS": "1"},
        )
        self.version = self._read().split()[1]

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

    def seconds_per_call(self, num_bytes: int, repeats: int) -> float:
        """Returns the mean time of an allreduce. Collective: every rank must call this.

        Args:
            num_bytes: Size of the message in bytes, a multiple of 4.
            repeats: Number of allreduces, at least 1.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(f"{num_bytes} {repeats}\n")
            self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            end = self._errors.read().decode(errors="replace").splitlines()[-15:]
            raise HvdImgclsError("PyTorch's process ended:\n" + "\n".join(end))
        return line
