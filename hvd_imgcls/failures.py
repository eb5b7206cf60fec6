"""Determines the root cause of the error with which a process exits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hvd_imgcls.errors import HvdImgclsError, PeerFailedError

# Horovod fails every pending and later operation with one of these once a peer is gone
# (common.h: SHUT_DOWN_ERROR; Gloo: "Connection closed by peer", "Read error").
_SIGNS = (
    "Horovod has been shut down",
    "Connection closed by peer",
    "Connection reset by peer",
    "gloo::",
    "[gloo/",
    "HorovodInternalError",
)


@dataclass
class ProcessState:
    """Facts about this process.

    Attributes:
        has_joined_ranks: Whether this rank communicates with the others.
        graph_error: The error raised inside a graph of TensorFlow, which wraps it in its own
            exception.
        remains: What the command leaves behind if it is interrupted now, as a phrase; empty if
            nothing.
        is_resumable: Whether the same command would continue from a checkpoint.
        write_end: In a run: writes into its directory how it ended: the message, and whether
            that is an error.
        where: Returns the position in the work, as a phrase for messages; empty if unknown.
        details: Returns more about it, as lines of text.
    """

    has_joined_ranks: bool = False
    graph_error: HvdImgclsError | None = None
    remains: str = ""
    is_resumable: bool = False
    write_end: Callable[[str, bool], None] | None = None
    where: Callable[[], str] = str
    details: Callable[[], str] = str


process_state = ProcessState()
"""The facts about this process."""


def as_peer_failure(error: BaseException) -> PeerFailedError | None:
    """Returns the error to raise instead, if `error` is caused by the exit of another rank.

    Args:
        error: Exception raised by an operation.
    """
    # By name, so that TensorFlow need not be imported.
    if not any(cls.__name__ == "OpError" for cls in type(error).__mro__):
        return None
    text = str(error)
    if not any(sign in text for sign in _SIGNS):
        return None
    return PeerFailedError(
        "another rank exited or stopped participating, so this rank cannot continue; see that "
        "rank's message, or Horovod's list of missing ranks"
    )


def root_cause(error: BaseException) -> HvdImgclsError | None:
    """Returns our own error behind an exception of TensorFlow, if there is one.

    TensorFlow wraps exceptions raised inside a graph, and a rank sees the exit of another rank
    as a failed operation.

    Args:
        error: Exception that ends the process.
    """
    return process_state.graph_error or as_peer_failure(error)
