"""Compares, once per epoch, whether all ranks validate, before callbacks communicate there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hvd_imgcls import distributed
from hvd_imgcls.distributed.agreement import require_same
from hvd_imgcls.keras.callbacks.batch_hooks import overrides
from hvd_imgcls.keras.callbacks.eligibility import knows_of_ranks

_FIX = (
    "pass validation_data and the same validation_freq on every rank, or on none; the ranks may "
    "have parts of different lengths"
)


def communicates_in_validation(callbacks: Iterable[Any]) -> bool:
    """Returns whether a callback of several ranks has hooks of validation."""
    return any(
        knows_of_ranks(callback)
        and (overrides(callback, "on_test_begin") or overrides(callback, "on_test_end"))
        for callback in callbacks
    )


class ValidationAgreement:
    """What one `fit` knows about the validation of the current epoch.

    A rank without validation would go on to the end of the epoch, and its messages there would be
    taken for those of the others before their validation.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._is_compared = False

    def begin_epoch(self, epoch: int) -> None:
        """Starts epoch `epoch`, 0-based."""
        self._epoch, self._is_compared = epoch, False

    def compare(self, *, validates: bool) -> None:
        """Compares the ranks, once per epoch. Collective: every rank must call this.

        Raises:
            RankMismatchError: On all ranks, if only some of them validate.
        """
        if self._is_compared:
            return
        self._is_compared = True
        require_same(
            distributed.current(),
            {f"validation in epoch {self._epoch + 1}": "yes" if validates else "no"},
            fix=_FIX,
        )
