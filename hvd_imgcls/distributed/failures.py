"""Which errors of TensorFlow mean that another rank has gone."""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.errors import PeerFailedError

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


def as_peer_failure(error: BaseException) -> PeerFailedError | None:
    """Returns the error to raise instead, if `error` is the echo of another rank's end.

    Args:
        error: What an operation raised.
    """
    if not isinstance(error, tf.errors.OpError):
        return None
    text = str(error)
    if not any(sign in text for sign in _SIGNS):
        return None
    return PeerFailedError(
        "another rank ended or took no part any more, so this one cannot go on; its message, or "
        "Horovod's list of missing ranks, says why"
    )
