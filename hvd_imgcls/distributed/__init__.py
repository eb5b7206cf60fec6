"""Ranks: starting and stopping them, and communication between them.

`start()` joins the run; the object it returns is the only way in which ranks communicate.
"""

from hvd_imgcls.distributed import agreement, devices
from hvd_imgcls.distributed.collectives import Collectives, ReduceOp
from hvd_imgcls.distributed.process_set import ProcessSet, global_process_set
from hvd_imgcls.distributed.starting import current, is_started, is_waiting, start, stop

__all__ = [
    "Collectives",
    "ProcessSet",
    "ReduceOp",
    "agreement",
    "current",
    "devices",
    "global_process_set",
    "is_started",
    "is_waiting",
    "start",
    "stop",
]
