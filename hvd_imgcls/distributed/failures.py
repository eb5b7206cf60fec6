"""Recognises errors of TensorFlow that are caused by the failure of another rank."""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.errors import PeerFailedError

# Once a peer is gone, Horovod fails every pending and later operation with one of these
# (common.h: SHUT_DOWN_ERROR; Gloo: "Connection closed by peer", "Read error").
_SIGNS = (
    "Horovod has been shut down",
    "Connection closed by peer",
    "Connection reset by peer",
    "gloo::",
    "[gloo/",
    "HorovodInternalError",
)


def as_peer_failure(error: BaseException) -> PeerFailedError | None:
    """Returns the error to raise instead, if `error` is caused by the exit of another rank.

    Args:
        error: Exception raised by an operation.
    """
    if not isinstance(error, tf.errors.OpError):
        return None
    text = str(error)
    if not any(sign in text for sign in _SIGNS):
        return None
    return PeerFailedError(
        "another rank exited or stopped participating, so this rank cannot continue; see that "
        "rank's message, or Horovod's list of missing ranks"
    )
