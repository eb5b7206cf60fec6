"""What two sections of a configuration may not say together."""

from __future__ import annotations

from hvd_imgcls.config.models import GivenModel, KerasApplication, KerasFile
from hvd_imgcls.config.normalization import UnitRange
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.errors import ConfigError


def require_one_normalization(config: RunConfig) -> None:
    """Refuses a normalisation of pixels for a model that has its own.

    Raises:
        ConfigError: If `data.normalization` says something and the model takes pixels as they are.
    """
    model, normalization = config.model, config.data.normalization
    if isinstance(normalization, UnitRange):
        return
    fix = "take data.normalization out"
    if isinstance(model, KerasFile) and model.normalization_in_model:
        fix += ", or set model.normalization_in_model to false if the file needs it"
    elif not isinstance(model, KerasApplication | GivenModel):
        return
    raise ConfigError(
        "data.normalization",
        got=normalization.name,
        expected=f"nothing, since the model ({model.name}) takes pixels of 0 to 255 as they are",
        fix=fix,
    )
