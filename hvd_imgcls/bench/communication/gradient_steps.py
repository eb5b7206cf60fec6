"""A step without a forward and backward pass: it waits, then reduces and applies gradients."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls.config.models import ResNet
from hvd_imgcls.models import build_model

Apply = Callable[[list[tf.Tensor], list[keras.Variable]], None]
# Seconds per step, from the number of steps.
SecondsPerStep = Callable[[int], float]


def make_gradients(rank: int) -> list[tf.Variable]:
    """Returns random gradients of ResNet-18 for images of 32 x 32 pixels, float32.

    Args:
        rank: The rank, whose gradients they are.
    """
    model = build_model(ResNet(name="resnet18", stem="small"), (32, 32, 3), 10)
    random = np.random.default_rng(rank)
    return [
        tf.Variable(random.normal(scale=1e-3, size=variable.shape).astype(np.float32))
        for variable in model.trainable_variables
    ]


def make_optimizer() -> keras.optimizers.Optimizer:
    """Returns the optimizer of all arms."""
    return keras.optimizers.SGD(0.01, momentum=0.9)


def make_arm(
    apply: Apply,
    gradients: Sequence[tf.Variable],
    wait_seconds: float,
    *,
    in_turn: bool = False,
) -> SecondsPerStep:
    """Returns a function that runs steps, compiled into a graph.

    Args:
        apply: Reduces gradients and applies them to weights.
        gradients: The gradients of this rank.
        wait_seconds: Time until they are there.
        in_turn: Whether they are there one after the other, as in a backward pass, instead of all
            at once: the last first, in the last two thirds of the time.
    """
    variables = [
        keras.Variable(tf.zeros(gradient.shape), name=f"weights_{index}")
        for index, gradient in enumerate(gradients)
    ]

    @tf.function(autograph=False)
    def step() -> None:
        if in_turn:
            values = _in_turn(gradients, wait_seconds)
        else:
            with tf.control_dependencies(_after(wait_seconds)):
                values = [gradient.read_value() for gradient in gradients]
        apply(values, variables)

    def seconds_per_step(num_steps: int) -> float:
        began = time.perf_counter()
        for _ in range(num_steps):
            step()
        return (time.perf_counter() - began) / num_steps

    return seconds_per_step


def _after(seconds: float) -> list[Any]:
    """Returns tensors that are there after some time, for control dependencies."""

    def wait() -> np.float32:
        time.sleep(seconds)
        return np.float32(0)

    # Numpy functions release Python's lock while they sleep.
    return [tf.numpy_function(wait, [], tf.float32)] if seconds else []


def _in_turn(gradients: Sequence[tf.Variable], seconds: float) -> list[tf.Tensor]:
    """Returns the gradients, the last after a third of the time, and the first after all of it."""
    passed, values = _after(seconds / 3), []
    for gradient in reversed(gradients):
        with tf.control_dependencies(passed):
            passed = _after(2 / 3 * seconds / len(gradients))
        with tf.control_dependencies(passed):
            values.append(gradient.read_value())
    return values[::-1]
