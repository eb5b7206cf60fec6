"""Every kind of broken file is a problem with a reason, and none brings the run down."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hvd_imgcls.data.inspection import inspect_file
from hvd_imgcls.data.inspector import Inspector
from tests.unit.data.images import encoded

PIXELS = np.arange(24 * 32 * 3, dtype=np.uint32).reshape(24, 32, 3).astype(np.uint8)


def saved(kind, mode="RGB", pixels=PIXELS, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def animated(kind):
    images = [Image.fromarray(np.roll(PIXELS, n, axis=1)) for n in range(3)]
    file = io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:])
    return file.getvalue()


def png_of_size(width, height):
    """A PNG whose header has this size; its pixels end early."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)


def sixteen_bits():
    file = io.BytesIO()
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200).save(file, "PNG")
    return file.getvalue()


def rotated():
    exif = Image.Exif()
    exif[274] = 6
    return saved("JPEG", exif=exif.tobytes())


JPEG = encoded(".jpg", 1)

GOOD = {
    "jpeg": (JPEG, "JPEG", ""),
    "progressive": (saved("JPEG", progressive=True), "JPEG", ""),
    "grey jpeg": (saved("JPEG", "L"), "JPEG", "grey"),
    "cmyk": (saved("JPEG", "CMYK"), "JPEG", "CMYK"),
    "exif": (rotated(), "JPEG", "EXIF orientation 6 is not applied"),
    "png": (saved("PNG"), "PNG", ""),
    "png with alpha": (saved("PNG", "RGBA"), "PNG", "transparency is dropped"),
    "png with palette": (saved("PNG", "P"), "PNG", ""),
    "16-bit png": (sixteen_bits(), "PNG", "more than 8 bits per channel"),
    "1-bit png": (saved("PNG", "1"), "PNG", "grey"),
    "gif": (saved("GIF"), "GIF", ""),
    "animated gif": (animated("GIF"), "GIF", "animated: the first image is used"),
    "bmp": (saved("BMP"), "BMP", ""),
    "webp": (saved("WEBP"), "WEBP", ""),
}

BAD = {
    "empty": (b"", "empty file"),
    "one byte": (b"\xff", "a format that nobody knows"),
    "text": (b"<html>not found</html>", "a format that nobody knows"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a format that nobody knows"),
    "jpeg header cut": (JPEG[:20], "Invalid JPEG"),
    "jpeg cut": (JPEG[: len(JPEG) // 2], "Invalid JPEG"),
    "png cut": (saved("PNG")[:-40], "PNG"),
    "tiff": (saved("TIFF"), "TIFF, which TensorFlow does not decode"),
    "avif": (saved("AVIF"), "AVIF, which TensorFlow does not decode"),
    "bomb": (png_of_size(40_000, 40_000), "40000 x 40000 pixels, more than the 178,956,970"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_tensorflow_decodes_is_good(tmp_path, name):
    content, kind, remark = GOOD[name]
    path = tmp_path / "x.jpg"  # whatever its name says
    path.write_bytes(content)
    facts = inspect_file(path)
    assert facts.problem is None
    assert (facts.format, facts.height, facts.width) == (kind, 24, 32)
    assert facts.num_bytes == len(content)
    assert remark in facts.remarks
    assert bool(facts.remarks) == bool(remark) or "palette" in name or "gif" in name


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_decoded_has_a_reason(tmp_path, name):
    content, reason = BAD[name]
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert reason in str(inspect_file(path).problem)


def test_what_is_no_file_is_a_problem(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    assert inspect_file(tmp_path / "pipe.jpg").problem == "not a regular file"
    assert inspect_file(tmp_path / "link.jpg").problem == "No such file or directory"
    assert "symbolic links" in str(inspect_file(tmp_path / "circle.jpg").problem)


@pytest.fixture(scope="module")
def inspector():
    inspector = Inspector(10**8, seconds_per_file=5)
    yield inspector
    inspector.close()


def test_a_child_answers_for_names_that_are_no_text(inspector, tmp_path):
    name = os.fsencode(tmp_path) + b'/\xff\n".jpg'
    with open(name, "wb") as file:
        file.write(JPEG)
    assert inspector.inspect(Path(os.fsdecode(name)))["problem"] is None


def test_a_child_that_dies_or_hangs_costs_one_file(inspector, tmp_path):
    good = tmp_path / "good.jpg"
    good.write_bytes(JPEG)
    assert inspector.inspect(good)["problem"] is None
    child = inspector._child
    child.kill()
    child.wait()
    assert inspector.inspect(good)["problem"] == "the decoder crashed (SIGKILL)"
    assert inspector.inspect(good)["problem"] is None
    os.kill(inspector._child.pid, 19)  # SIGSTOP
    assert inspector.inspect(good)["problem"] == "the decoder was not done after 5 s"
    assert inspector.inspect(good)["problem"] is None


def mutated(content, generator):
    """Returns the content with some bits turned, cut short, or with a part elsewhere."""
    bytes_of = bytearray(content)
    kind = generator.integers(3)
    if kind == 0:
        for place in generator.integers(len(bytes_of), size=generator.integers(1, 20)):
            bytes_of[place] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        del bytes_of[int(generator.integers(len(bytes_of))) :]
    else:
        first, last = sorted(map(int, generator.integers(len(bytes_of), size=2)))
        bytes_of = bytes_of[:first] + bytes_of[last:] + bytes_of[first:last]
    return bytes(bytes_of)


def test_mutated_images_are_good_or_bad_and_nothing_else(inspector, tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "mutated"
    problems = []
    for number in range(280):
        content, _, _ = list(GOOD.values())[number % len(GOOD)]
        path.write_bytes(mutated(content, generator))
        problems.append(inspector.inspect(path)["problem"])
    assert any(problem is None for problem in problems)
    reasons = [problem for problem in problems if problem is not None]
    assert len(reasons) > 50
    assert not [reason for reason in reasons if "crashed" in reason or "not done" in reason]
