"""Selects how compressed means are computed."""

from __future__ import annotations

from hvd_imgcls.distributed import ProcessSet
from hvd_imgcls.keras.compression.codecs import BFloat16Codec, Int8Codec
from hvd_imgcls.keras.compression.largest import TopKMean
from hvd_imgcls.keras.compression.lossy_mean import LossyMean
from hvd_imgcls.keras.compression.power_sgd import PowerSGDMean
from hvd_imgcls.keras.compression.quantized import QuantizedMean
from hvd_imgcls.keras.compression.settings import BFloat16, Int8, LossyCompression, TopK


def make_lossy_mean(settings: LossyCompression, process_set: ProcessSet) -> LossyMean:
    """Returns how the compressed means are computed.

    Args:
        settings: The compression.
        process_set: The participating ranks.
    """
    if isinstance(settings, BFloat16):
        return QuantizedMean(settings, process_set, BFloat16Codec())
    if isinstance(settings, Int8):
        return QuantizedMean(settings, process_set, Int8Codec(settings.block_size))
    if isinstance(settings, TopK):
        return TopKMean(settings, process_set)
    return PowerSGDMean(settings, process_set)
