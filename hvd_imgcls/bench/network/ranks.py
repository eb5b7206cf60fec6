"""Starts Horovod ranks on the hosts of a slow network, one per host."""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hvd_imgcls.bench.measuring.launching import environment, progress_in
from hvd_imgcls.bench.network.counters import Sent
from hvd_imgcls.bench.network.link import (
    BASELINE_RENDEZVOUS_PORT,
    DEVICE,
    RENDEZVOUS_PORT,
    address,
    host_name,
)
from hvd_imgcls.bench.network.network import SlowNetwork
from hvd_imgcls.bench.network.programs import Program
from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.launcher.rendezvous import SECRET_VARIABLE

logger = logging.getLogger(__name__)

# TensorFlow starts on all hosts at once, on the cores of one machine.
_GLOO_TIMEOUT_SECONDS = 300


def rank_variables(rank: int, size: int) -> dict[str, str]:
    """Returns the variables with which horovodrun starts a rank over Gloo, one rank per host."""
    return {
        "HOROVOD_RANK": str(rank),
        "HOROVOD_SIZE": str(size),
        "HOROVOD_LOCAL_RANK": "0",
        "HOROVOD_LOCAL_SIZE": "1",
        "HOROVOD_CROSS_RANK": str(rank),
        "HOROVOD_CROSS_SIZE": str(size),
        "HOROVOD_HOSTNAME": host_name(rank),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": DEVICE,
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address(0),
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(RENDEZVOUS_PORT),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": str(_GLOO_TIMEOUT_SECONDS),
        "PYTHONUNBUFFERED": "1",
    }


def run_module_on_hosts(
    network: SlowNetwork,
    module: str,
    arguments: Sequence[str],
    *,
    threads: int,
    timeout_seconds: float,
    variables: Mapping[str, str] | None = None,
) -> tuple[Any, list[Sent]]:
    """Runs a module as one rank on every host; shows the progress that the root prints.

    Args:
        network: The network.
        module: Receives the name of its result file where `arguments` contain `{result}`.
        arguments: Its other arguments.
        threads: Intra-op threads of each rank.
        timeout_seconds: Maximum duration.
        variables: More environment variables.

    Returns:
        The JSON that the module wrote, and what each host has sent, the start of the ranks
        included.

    Raises:
        HvdImgclsError: If a rank fails or the time is over, with the end of its output.
    """
    size = network.link.num_hosts
    result = network.folder / "result.json"
    result.unlink(missing_ok=True)
    words = [argument.format(result=result) for argument in arguments]
    common = environment(threads, os.environ) | dict(variables or {})
    common[SECRET_VARIABLE] = secrets.token_hex()
    module_of_server = "hvd_imgcls.bench.network.rendezvous"
    servers = [
        Program(
            name=f"the rendezvous server of port {port}",
            host=0,
            command=[sys.executable, "-m", module_of_server, str(size), str(port)],
            environment=common,
            is_service=True,
        )
        for port in (RENDEZVOUS_PORT, BASELINE_RENDEZVOUS_PORT)
    ]
    ranks = [
        Program(
            name=f"rank {rank}",
            host=rank,
            command=[sys.executable, "-m", module, *words],
            environment=common | rank_variables(rank, size),
        )
        for rank in range(size)
    ]
    sent = network.run([*servers, *ranks], timeout_seconds, _show_progress)
    if not result.exists():
        raise HvdImgclsError(f"{module} wrote no result; this is an error of the benchmark")
    return json.loads(result.read_text(encoding="utf-8")), sent


def _show_progress(program: Program, line: str) -> None:
    text = progress_in(line)
    if text:
        logger.info("  %s", text)
