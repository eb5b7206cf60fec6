"""Compressions with error feedback in NumPy, for all ranks at once, written from their papers."""

import ml_dtypes
import numpy as np


class Quantized:
    """Every rank averages a part of the values and rounds the means once more."""

    def __init__(self, size, block, rounded):
        self.size, self.block, self.rounded = size, block, rounded
        self.residuals = None

    def mean(self, gradients):
        """gradients: [ranks, values]."""
        if self.residuals is None:
            self.residuals = np.zeros_like(gradients)
        total = gradients + self.residuals
        part = -(-total.shape[1] // (self.size * self.block)) * self.block
        padded = np.pad(total, [(0, 0), (0, part * self.size - total.shape[1])])
        sent = np.stack([self.rounded(row) for row in padded])
        exact = sent.mean(axis=0, dtype=np.float32)
        mean = np.concatenate([self.rounded(one) for one in np.split(exact, self.size)])
        self.residuals = (padded - sent)[:, : total.shape[1]]
        for rank in range(self.size):
            own = slice(part * rank, min(part * (rank + 1), total.shape[1]))
            self.residuals[rank, own] += self.size * (exact - mean)[own]
        return mean[: total.shape[1]]


def as_bfloat16(values):
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def as_int8(block):
    def rounded(values):
        blocks = values.reshape(-1, block)
        unit = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
        safe = np.where(unit == 0, np.float32(1), unit)
        return (np.round(blocks / safe) * unit).reshape(-1).astype(np.float32)

    return rounded


class Largest:
    """Sends the values of largest magnitude, compared by exponent and 8 bits."""

    def __init__(self, fraction):
        self.fraction = fraction
        self.residuals = None

    def mean(self, gradients):
        if self.residuals is None:
            self.residuals = np.zeros_like(gradients)
        total = gradients + self.residuals
        count = max(1, int(np.ceil(self.fraction * total.shape[1])))
        sent = np.zeros_like(total)
        for row, values in enumerate(total):
            coarse = (np.abs(values).view(np.int32) >> 15).astype(np.int64)
            chosen = np.argsort(-coarse, kind="stable")[:count]
            sent[row, chosen] = values[chosen]
        self.residuals = total - sent
        return sent.mean(axis=0, dtype=np.float32)


class LowRank:
    """Algorithm 1 of PowerSGD for one matrix, with a factor that is given."""

    def __init__(self, shape, factor):
        self.shape, self.factor = shape, factor
        self.residuals = None

    def mean(self, gradients):
        if self.residuals is None:
            self.residuals = np.zeros_like(gradients)
        total = gradients + self.residuals
        matrices = total.reshape(len(total), -1, self.shape[-1]).astype(np.float64)
        left, _ = np.linalg.qr((matrices @ self.factor).mean(axis=0))
        own = matrices.transpose(0, 2, 1) @ left
        self.factor = own.mean(axis=0)
        self.residuals = (matrices - left @ own.transpose(0, 2, 1)).reshape(total.shape)
        return (left @ self.factor.T).reshape(-1)
