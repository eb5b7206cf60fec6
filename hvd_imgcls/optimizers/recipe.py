"""Builds the complete optimizer of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.gradient_clipping import (
    AdaptiveClipping,
    ClipByGlobalNorm,
    ClipByNorm,
    ClipByValue,
)
from hvd_imgcls.config.optimizers import Adam, Optimizer, Sgd
from hvd_imgcls.optimizers.adaptive_clipping import fan_in_axes, with_adaptive_clipping
from hvd_imgcls.optimizers.averaging import with_averaged_weights
from hvd_imgcls.optimizers.building import make_optimizer
from hvd_imgcls.optimizers.depth import last_kernel_layer, layer_decay_multipliers
from hvd_imgcls.optimizers.lookahead import rising_fraction, with_lookahead
from hvd_imgcls.optimizers.momentum_correction import with_momentum_correction
from hvd_imgcls.optimizers.multipliers import with_learning_rate_multipliers
from hvd_imgcls.optimizers.weight_decay import is_kernel, own_name, with_weight_decay_on


def build_recipe(
    config: RunConfig, learning_rate: Any, model: keras.Model, *, num_steps: int
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run, not yet distributed.

    It expects gradients of the whole global batch and applies, in this order: clipping, weight
    decay, momentum and update, averaging of the weights. `hvd_imgcls.keras`'s
    `DistributedOptimizer` must be wrapped around it, because it reduces gradients before all that.

    Args:
        config: Sections `optimizer`, `gradient_clipping`, `fine_tuning`, `train.lookahead` and
            `train.ema`.
        learning_rate: A number or a schedule.
        model: The built model: some rules depend on the position of a variable in it.
        num_steps: Steps in the whole run.

    Raises:
        ConfigError: If a rule needs the order of the layers and the model does not provide it.
    """
    optimizer = make_optimizer(config.optimizer, learning_rate)
    optimizer = _with_own_options(optimizer, config.optimizer, model)
    optimizer = _with_clipping(optimizer, config, model)
    multiplier_of = _multipliers(config, model)
    if multiplier_of is not None:
        optimizer = with_learning_rate_multipliers(optimizer, multiplier_of)
    lookahead, ema = config.train.lookahead, config.train.ema
    if lookahead is not None:
        optimizer = with_lookahead(
            optimizer,
            every_steps=lookahead.every_steps,
            slow_fraction=rising_fraction(lookahead, num_steps),
        )
    if ema is not None:
        optimizer = with_averaged_weights(optimizer, ema.decay, warms_up=ema.warms_up)
    return optimizer


def _multipliers(config: RunConfig, model: keras.Model) -> Callable[[Any], float] | None:
    """Returns the learning-rate multiplier of each variable; None if all are 1."""
    decay, optimizer = config.fine_tuning.layer_decay, config.optimizer
    of_depth = layer_decay_multipliers(model, decay) if decay < 1 else None
    if not isinstance(optimizer, Sgd) or optimizer.normalization_bias_multiplier == 1.0:
        return of_depth

    def multiplier_of(variable: Any) -> float:
        own = _bias_multiplier(optimizer, variable)
        return own * (of_depth(variable) if of_depth is not None else 1.0)

    return multiplier_of


def _bias_multiplier(config: Sgd, variable: Any) -> float:
    return config.normalization_bias_multiplier if own_name(variable) == "beta" else 1.0


def _with_own_options(optimizer: Any, config: Optimizer, model: keras.Model) -> Any:
    """Returns the optimizer with options of its section beyond its class's arguments."""
    if isinstance(config, Adam):
        return optimizer
    if config.name == "muon":
        # Keras would take all matrices, such as the biases of attention. It expects regular
        # expressions; these are the paths of single variables.
        last = {id(variable) for variable in last_kernel_layer(model).trainable_variables}
        others = [v for v in model.trainable_variables if id(v) in last or not is_kernel(v)]
        optimizer.exclude_layers = [f"^{re.escape(v.path)}$" for v in others if len(v.shape) == 2]
    if isinstance(config, Sgd) and config.weight_decay_kind == "l2":
        optimizer = _with_l2(optimizer, config)
    elif config.weight_decay_on == "kernels":
        optimizer = with_weight_decay_on(optimizer)
    if isinstance(config, Sgd) and config.momentum_correction:
        optimizer = with_momentum_correction(optimizer)
    return optimizer


def _with_l2(optimizer: Any, config: Sgd) -> Any:
    def l2_of(variable: Any) -> float:
        # A decay rate, which must not be scaled by a per-variable learning rate.
        return config.weight_decay / _bias_multiplier(config, variable)

    is_decayed = is_kernel if config.weight_decay_on == "kernels" else lambda _: True
    return with_weight_decay_on(optimizer, is_decayed, l2=l2_of)


def _with_clipping(optimizer: Any, config: RunConfig, model: keras.Model) -> Any:
    clipping = config.gradient_clipping
    if isinstance(clipping, ClipByValue):
        optimizer.clipvalue = clipping.max_value
    elif isinstance(clipping, ClipByNorm):
        optimizer.clipnorm = clipping.max_norm
    elif isinstance(clipping, ClipByGlobalNorm):
        optimizer.global_clipnorm = clipping.max_norm
    elif isinstance(clipping, AdaptiveClipping):
        return with_adaptive_clipping(
            optimizer,
            max_ratio=clipping.max_ratio,
            epsilon=clipping.epsilon,
            axes_of=unit_axes_of(model),
        )
    return optimizer


def unit_axes_of(model: keras.Model) -> Any:
    """Returns a function from a variable to the axes of its units; None for the last layer.

    A depthwise kernel is `[height, width, channels, multiplier]`, and every channel is a unit.
    """
    last = {id(variable) for variable in last_kernel_layer(model).weights}
    depthwise = {
        id(layer.kernel)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
    }

    def axes_of(variable: Any) -> tuple[int, ...] | None:
        if id(variable) in last:
            return None
        if id(variable) in depthwise:
            return tuple(range(len(variable.shape) - 2))
        return fan_in_axes(variable)

    return axes_of
