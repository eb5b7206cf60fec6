"""Pictures are upright, whichever way they are stored."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from hvd_imgcls.data.decoding.decode import decode_shrunk, decode_whole, decode_window
from hvd_imgcls.data.decoding.exif import jpeg_orientation
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.windows import Window
from tests.unit.data.decoding.orientations import FORMATS, PICTURE, TURNS, stored
from tests.unit.data.decoding.pictures import psnr


def orientation_of(content):
    return int(jpeg_orientation(tf.constant(content)))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", FORMATS)
def test_whole_images_and_windows_are_upright(kind, orientation):
    contents = tf.constant(stored(orientation, kind))
    assert psnr(decode_whole(contents, DecodingOptions()).numpy(), PICTURE) > 33
    shrunk = decode_shrunk(contents, 40, DecodingOptions()).numpy()
    assert shrunk.shape == (40, 30, 3)
    window = Window(tf.constant([30, 20]), tf.constant([150, 90]))
    pixels = decode_window(contents, lambda size: window, 32, DecodingOptions())
    expected = Image.fromarray(PICTURE[30:180, 20:110]).resize((32, 32), Image.Resampling.BILINEAR)
    assert psnr(pixels.numpy(), np.asarray(expected)) > 36


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_the_orientation_can_be_ignored(kind):
    content = stored(6, kind)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    pixels = decode_whole(tf.constant(content), DecodingOptions(is_upright=False))
    assert psnr(pixels.numpy(), expected) > 50


def test_other_metadata_in_front_is_passed_over():
    content = stored(6)
    begin = 20 if content[3] == 0xE0 else 2
    comment = b"\xff\xfe" + struct.pack(">H", 12) + b"a comment "
    profile = b"\xff\xe2" + struct.pack(">H", 65_000) + bytes(64_998)
    behind_others = content[:begin] + comment + profile + profile + b"\xff" + content[begin:]
    assert orientation_of(behind_others) == 6
    with Image.open(io.BytesIO(behind_others)) as image:
        assert image.getexif()[274] == 6
        assert ImageOps.exif_transpose(image).size == (150, 200)


@pytest.mark.parametrize("content", [stored(1), stored(6, tag=False)])
def test_without_the_tag_nothing_is_turned(content):
    assert orientation_of(content) == 1


def test_both_byte_orders_are_read():
    little = stored(8)
    place = little.index(b"Exif\0\0") + 6
    assert little[place : place + 2] in (b"II", b"MM")
    entries = [(271, 2, 4, b"abc\0"), (274, 3, 1, None)]
    for order, name in (("<", b"II"), (">", b"MM")):
        table = b"".join(
            struct.pack(f"{order}HHI", tag, kind, number)
            + (value or struct.pack(f"{order}HH", 8, 0))
            for tag, kind, number, value in entries
        )
        data = b"Exif\0\0" + name + struct.pack(f"{order}HIH", 42, 8, len(entries)) + table
        segment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
        plain = stored(1, tag=False)
        assert orientation_of(plain[:2] + segment + plain[2:]) == 8


def test_damaged_exif_counts_as_none():
    """Every byte of the header is changed in turn, and the file is cut anywhere in it."""
    content = bytearray(stored(6))
    begin = content.index(b"Exif\0\0")
    for place in range(begin - 4, begin + 60, 3):
        for value in (0x00, 0x7F, 0xFF):
            changed = content.copy()
            changed[place] = value
            assert orientation_of(bytes(changed)) in range(1, 9)
        assert orientation_of(bytes(content[:place])) in range(1, 9)
