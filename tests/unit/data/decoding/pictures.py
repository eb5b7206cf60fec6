"""Pictures with the spectrum of photographs, and how far two are apart."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def photograph(height, width, seed=0):
    """Returns noise whose amplitude falls with 1 / frequency, `[height, width, 3]`, uint8."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    planes = []
    for _ in range(3):
        noise = np.fft.irfft2(
            np.fft.rfft2(random.normal(size=(height, width))) / frequency, s=(height, width)
        )
        planes.append(noise / noise.std())
    brightness = 128 + 48 * planes[0]
    pixels = [brightness + 12 * planes[1], brightness, brightness + 12 * planes[2]]
    return np.clip(np.stack(pixels, axis=-1), 0, 255).astype(np.uint8)


def jpeg_of(pixels, **options):
    """Returns pixels as JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def psnr(one, other):
    """Returns the peak signal-to-noise ratio of two pictures, in decibels."""
    error = np.mean((one.astype(float) - other) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9))
