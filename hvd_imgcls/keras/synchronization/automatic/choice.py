"""Selects how gradients are averaged."""

from __future__ import annotations

from hvd_imgcls.keras.synchronization.automatic.averaging import AutomaticAveraging
from hvd_imgcls.keras.synchronization.automatic.groups import AutomaticGroups
from hvd_imgcls.keras.synchronization.averaging import Averaging
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


def make_averaging(
    settings: ReductionSettings,
) -> Averaging | AutomaticAveraging | AutomaticGroups:
    """Returns what averages gradients for these settings.

    Args:
        settings: Operation, compression, groups and process set.
    """
    if settings.is_automatic:
        return AutomaticAveraging(settings)
    if settings.has_automatic_groups:
        return AutomaticGroups(settings)
    return Averaging(settings)
