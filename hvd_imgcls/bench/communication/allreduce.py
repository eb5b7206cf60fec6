"""`bench allreduce`: time and bandwidth of an allreduce by size, against what the link carries.

Under a launcher it measures the network between the launched ranks. Otherwise it starts 2 and 4
ranks on this machine, with --rate on hosts of a simulated network. The bound is that of a ring
over plain TCP connections between neighbours, measured in the same run. With --torch-python,
PyTorch's Gloo takes turns with ours, on the same ranks.
"""

from __future__ import annotations

import logging
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.communication.arithmetic import MIB, message_sizes
from hvd_imgcls.bench.communication.bandwidths import summarize, table_of
from hvd_imgcls.bench.communication.settings import Settings
from hvd_imgcls.bench.communication.work import AllreduceWork, as_argument
from hvd_imgcls.bench.measuring.launching import run_module
from hvd_imgcls.bench.network.network import SlowNetwork
from hvd_imgcls.bench.network.preflight import conditions_of, require_as_intended
from hvd_imgcls.bench.network.ranks import run_module_on_hosts
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.text.table import text_table

logger = logging.getLogger(__name__)

_RANK = "hvd_imgcls.bench.communication.allreduce_rank"
_TIMEOUT_SECONDS = 3600.0


def run(settings: Settings) -> dict[str, Any]:
    """Measures, and returns the results by number of ranks.

    Collective: under a launcher, every rank must call this.

    Raises:
        ConfigError: For options that a launcher decides.
    """
    work = AllreduceWork(
        sizes=message_sizes(most=settings.largest * MIB),
        pairs=settings.pairs,
        torch_python=str(settings.torch_python) if settings.torch_python else None,
    )
    rank, launched = launched_rank_and_size()
    results = {}
    for size in settings.ranks if launched == 1 else (launched,):
        here = launched > 1
        measured = _measure_here(settings, work) if here else _measure(settings, work, size)
        results[f"{size} ranks"] = summarize(measured)
        if rank == 0:
            _show(f"{size} ranks", results[f"{size} ranks"])
    if rank == 0 and settings.plot:
        from hvd_imgcls.bench.communication.page import write_plots

        write_plots(settings.plot, results)
        logger.log(logs.RESULT, "plots written to %s", settings.plot)
    return results


def _show(name: str, summary: dict[str, Any]) -> None:
    for line in text_table(table_of(summary)):
        logger.log(logs.RESULT, "%s", line)
    logger.log(logs.RESULT, "%s: %s", name, summary["text"])


def _measure_here(settings: Settings, work: AllreduceWork) -> dict[str, Any]:
    """Measures between the launched ranks, of which this process is one. Collective."""
    for option, value, default in (
        ("--ranks", settings.ranks, Settings(pairs=1).ranks),
        ("--rate", settings.rate_mbit, None),
    ):
        if value != default:
            raise ConfigError(
                option,
                got=value,
                expected="nothing under a launcher, whose ranks and network are measured",
                fix="omit it, or run the command without a launcher",
            )
    from hvd_imgcls import distributed
    from hvd_imgcls.bench.communication.allreduce_rank import measure

    ranks = distributed.start()
    distributed.devices.configure(
        intra_op_threads=1, inter_op_threads=2, local_rank=ranks.topology.local_rank
    )
    measured = measure(ranks, work, lambda text: logger.info("  %s ...", text))
    ranks.barrier()
    return measured


def _measure(settings: Settings, work: AllreduceWork, size: int) -> dict[str, Any]:
    """Measures between ranks that are started for it."""
    words = ["{result}", as_argument(work)]
    if settings.rate_mbit is None:
        logger.info("%d ranks on this machine: %d pairs of each size ...", size, work.pairs)
        local: dict[str, Any] = run_module(
            _RANK,
            words,
            size=size,
            threads=1,
            timeout_seconds=_TIMEOUT_SECONDS,
            on_progress=lambda text: logger.info("  %s ...", text),
        )
        return local
    link = settings.link(size)
    logger.info("%s: %d pairs of each size ...", link.describe(), work.pairs)
    with SlowNetwork(link) as network:
        found = require_as_intended(network)
        measured, sent = run_module_on_hosts(
            network, _RANK, words, threads=1, timeout_seconds=_TIMEOUT_SECONDS
        )
    return {**measured, **conditions_of(link, found, sent)}
