"""Keys for random numbers, in plain Python: pure functions of their purpose.

The hash is that of `random_numbers`, the finaliser of SplitMix64.
"""

from __future__ import annotations

_MASK = 2**64 - 1
SPLITMIX64 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_GOLDEN, _FIRST, _SECOND = SPLITMIX64

# Purposes other than augmentations, whose streams are numbered from 1.
RANDOM_RESIZED_CROP = 0x63726F70  # "crop"
DRAWN_CLASSES = 0x636C6173  # "clas"


def stream_key(seed: int, stream: int, epoch: int) -> int:
    """Returns the key for one purpose in one epoch, -2**63 .. 2**63 - 1.

    Args:
        seed: `train.seed`.
        stream: Distinguishes random numbers for different purposes.
        epoch: 0-based; for `DRAWN_CLASSES` the part of the classes.
    """
    key = _mix(_mix(seed & _MASK, stream), epoch)
    return key - 2**64 if key >= 2**63 else key


def _mix(key: int, part: int) -> int:
    hashed = ((key + _GOLDEN) ^ (part * _FIRST + _GOLDEN)) & _MASK
    hashed = ((hashed ^ (hashed >> 30)) * _FIRST) & _MASK
    hashed = ((hashed ^ (hashed >> 27)) * _SECOND) & _MASK
    return hashed ^ (hashed >> 31)
