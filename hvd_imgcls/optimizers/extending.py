"""Adds features to Keras optimizers.

An extended optimizer is an instance of a generated class that inherits from the class of the
given optimizer and shares its state. Extensions can be combined with each other and with
`hvd_imgcls.keras.DistributedOptimizer`, in any order that makes sense. `__class__` is the
class of Keras, so a plain Keras optimizer with all of its state is saved; the extension itself
is not saved.

Functions of variables are called when the optimizer is built, with the variables it is built
for, so that copies for another model are correct.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from hvd_imgcls.errors import ConfigError


def whole(variable: Any) -> Any:
    """Returns the variable that a part of one belongs to; another variable unchanged.

    With `shard_optimizer_state`, optimizers are built for parts of the variables.
    """
    return getattr(variable, "whole", variable)


class Extension:
    """Base of the classes that extend an optimizer's own class.

    Attributes:
        needs_whole_variables: What it is, if it cannot work on parts of variables; else "".
    """

    needs_whole_variables = ""

    _plain_class: type
    _extended_class: type
    _extend_again: Any

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class of Keras, used for saving and `isinstance`."""
        return self._plain_class

    @classmethod
    def from_config(cls, config: dict[str, Any], **keywords: Any) -> Any:
        """Returns a new optimizer with this configuration and the same extensions."""
        plain = cls._plain_class.from_config(config, **keywords)  # type: ignore[attr-defined]
        return reapply_extensions(cls, plain)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Returns a copy with the same extensions; Keras copies by the saved configuration."""
        reduced: Any = self.__reduce__()
        make, arguments = reduced[:2]
        return reapply_extensions(type(self), make(*arguments))


def extend(optimizer: Any, extension: type[Extension], **attributes: Any) -> Any:
    """Returns the optimizer with an extension; both share one state.

    Args:
        optimizer: A Keras optimizer that is not built yet; may already be extended.
        extension: The first base class of the generated class.
        **attributes: Class attributes of the generated class, used by the extension.

    Raises:
        ConfigError: If the optimizer is built, distributed, scales the loss or accumulates.
    """
    _require_extendable(optimizer)
    again = functools.partial(extend, extension=extension, **attributes)
    return put_in_front(optimizer, extension, again, **attributes)


def put_in_front(
    optimizer: Any, extension: type[Extension], again: Callable[[Any], Any], **attributes: Any
) -> Any:
    """Returns an instance of a generated class: the extension, then the optimizer's own class.

    Args:
        optimizer: A Keras optimizer; both share one state.
        extension: The first base class of the generated class.
        again: Applies the same extension to another optimizer, for copies.
        **attributes: Class attributes of the generated class.
    """
    base = type(optimizer)
    made = type(
        base.__name__,
        (extension, base),
        {
            **{
                name: staticmethod(value) if callable(value) else value
                for name, value in attributes.items()
            },
            "_plain_class": optimizer.__class__,
            "_extended_class": base,
            "_extend_again": staticmethod(again),
            "__module__": base.__module__,
            "__doc__": base.__doc__,
        },
    )
    extended: Any = object.__new__(made)
    object.__setattr__(extended, "__dict__", optimizer.__dict__)
    return extended


def reapply_extensions(cls: type, plain: Any) -> Any:
    """Returns a plain optimizer with the extensions of a class, in the same order."""
    if not issubclass(cls, Extension):
        return plain
    # Attributes of this class itself, or those of its bases would be found twice.
    own = vars(cls)
    return own["_extend_again"].__func__(reapply_extensions(own["_extended_class"], plain))


def _require_extendable(optimizer: Any) -> None:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        problem, fix = "one that scales the loss", "extend its inner optimizer before wrapping it"
    elif hasattr(type(optimizer), "_synchronizer"):
        problem, fix = "one that is distributed", "extend it before hvd.DistributedOptimizer"
    elif optimizer.built:
        problem, fix = "one that is built", "extend it before the first step"
    elif optimizer.gradient_accumulation_steps:
        problem = "one that accumulates gradients itself"
        fix = "use backward_passes_per_step of hvd.DistributedOptimizer instead"
    else:
        return
    raise ConfigError("optimizer", got=problem, expected="a new Keras optimizer", fix=fix)
