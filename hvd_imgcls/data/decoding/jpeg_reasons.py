"""Says why a JPEG cannot be decoded, which TensorFlow's messages do not."""

from __future__ import annotations

import struct

_START, _END = b"\xff\xd8", b"\xff\xd9"
# Start of frame, by the last byte of the marker: ITU-T T.81, table B.1.
_FRAMES = {0xC0: "", 0xC1: "", 0xC2: "", 0xC9: "", 0xCA: ""}
_FRAMES |= {0xC3: "lossless", 0xCB: "lossless"}
_FRAMES |= dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical")
_SCAN = 0xDA


def jpeg_reason(content: bytes) -> str | None:
    """Returns why a JPEG cannot be decoded; None if its markers do not tell.

    Args:
        content: The file.
    """
    if not content.startswith(_START):
        return None
    place = len(_START)
    while place + 4 <= len(content):
        marker, length = struct.unpack_from(">xBH", content, place)
        if content[place] != 0xFF:
            return "a JPEG with damaged markers"
        if marker == 0xFF:
            place += 1
            continue
        if marker == _SCAN:
            return None if _END in content[place:] else "a JPEG that is cut off"
        if marker in _FRAMES:
            reason = _reason_of_frame(content[place + 4 : place + 10], _FRAMES[marker])
            if reason is not None:
                return reason
        place += 2 + length
    return "a JPEG that is cut off in its header"


def _reason_of_frame(frame: bytes, kind: str) -> str | None:
    if kind:
        return f"a {kind} JPEG, which is not supported; convert it"
    if len(frame) < 6:
        return "a JPEG that is cut off in its header"
    bits, height, width, channels = struct.unpack(">BHHB", frame)
    if bits != 8:
        return f"a JPEG of {bits} bits, which is not supported; convert it"
    if not height or not width:
        return "a JPEG whose header does not say how large it is; convert it"
    if channels not in (1, 3, 4):
        return f"a JPEG with {channels} channels, which is not supported; convert it"
    return None
