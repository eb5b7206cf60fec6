"""Numbers drawn by an augmentation, and comparisons with samples of the rule that it follows."""

import numpy as np
import tensorflow as tf
from scipy import stats

from hvd_imgcls.data.augment import making
from hvd_imgcls.data.randomness.random_numbers import uniform_words

# All seeds are fixed, so a test that passes always does. A wrong rule gives far smaller values.
LEAST_P = 1e-3


def drawn(part, image_shape, *, num=20_000, epoch=0, seed=1):
    """Returns what an augmentation draws for examples 0 to num - 1: arrays `[num, ...]`."""
    transform = making._make_transform(part, image_shape, "augment.0")
    words = uniform_words(
        tf.range(num, dtype=tf.int64),
        seed=seed,
        epoch=tf.constant(epoch, tf.int64),
        streams=range(1, 1 + transform.num_words),
    )
    return [parameter.numpy() for parameter in transform.draw(words)]


def same_distribution(ours, theirs):
    """Whether two samples may be of one continuous distribution (Kolmogorov-Smirnov)."""
    return stats.ks_2samp(ours, theirs, method="asymp").pvalue > LEAST_P


def have_probabilities(outcomes, probabilities):
    """Whether outcomes may have these probabilities, by outcome (chi-square).

    An outcome that is not among them is not possible at all.
    """
    counts = dict.fromkeys(probabilities, 0)
    for outcome, count in zip(*np.unique(outcomes, axis=0, return_counts=True), strict=True):
        key = outcome.item() if outcome.ndim == 0 else tuple(outcome.tolist())
        if key not in counts:
            return False
        counts[key] = int(count)
    expected = np.array([probabilities[key] for key in counts]) * len(outcomes)
    assert expected.min() > 5, "too few draws for this test"
    return stats.chisquare(list(counts.values()), expected).pvalue > LEAST_P


def have_probability(events, probability):
    """Whether events may have this probability (binomial test)."""
    num = int(np.sum(events))
    return stats.binomtest(num, len(events), probability).pvalue > LEAST_P


def are_uncorrelated(first, second):
    """Whether the correlation of two samples may be 0."""
    correlation = np.corrcoef(np.asarray(first, float), np.asarray(second, float))[0, 1]
    return abs(correlation) < stats.norm.isf(LEAST_P / 2) / np.sqrt(len(first))
