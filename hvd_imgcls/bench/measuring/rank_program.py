"""Joins the ranks, measures, and writes what was measured: the program of a rank."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hvd_imgcls import distributed
from hvd_imgcls.bench.measuring.launching import show_progress
from hvd_imgcls.distributed import Collectives

Measure = Callable[[Collectives, Any, Callable[[str], None]], Any]


def run_rank(words: list[str], make_work: Callable[..., Any], measure: Measure) -> None:
    """Measures on one thread per rank; the root shows progress and writes the results.

    Collective: every rank must call this.

    Args:
        words: Name of the result file, and the work as JSON.
        make_work: Makes the work of its parts.
        measure: Takes the ranks, the work, and what to call with the progress; returns JSON.
    """
    result, work = words
    ranks = distributed.start()
    distributed.devices.configure(
        intra_op_threads=1, inter_op_threads=2, local_rank=ranks.topology.local_rank
    )
    on_progress = show_progress if ranks.topology.is_root else lambda text: None
    results = measure(ranks, make_work(**json.loads(work)), on_progress)
    if ranks.topology.is_root:
        Path(result).write_text(json.dumps(results), encoding="utf-8")
    ranks.barrier()
