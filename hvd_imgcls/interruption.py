"""Says what an interrupted command leaves behind."""

from __future__ import annotations

import logging
import sys

from hvd_imgcls import logs
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.failures import process_state

logger = logging.getLogger(__name__)


def say_interrupted(how: str) -> None:
    """Says on the root that the command ends early and what remains, in the run's log as well.

    Args:
        how: What ended it, a participle.
    """
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    message = f"{how}; {process_state.remains}" if process_state.remains else how
    if logs.is_started():
        logger.warning("%s", message)
    else:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
