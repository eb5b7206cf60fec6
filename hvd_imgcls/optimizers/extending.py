"""How an optimizer of Keras gets an ability that Keras does not know.

An extended optimizer is an instance of a class made for it, which inherits from the class of
the optimizer that was given, and shares its state. Extensions can be put on one another and
under `hvd_imgcls.keras.DistributedOptimizer`, in any order that makes sense. `__class__` names
the class of Keras, so what is saved is a plain Keras optimizer with all of its state; the
extension itself is not saved.

Functions of variables are asked when the optimizer is built, with the variables it is built
for. So a copy for another model is right too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from hvd_imgcls.errors import ConfigError


class Extension:
    """Base of the classes that are put in front of an optimizer's own."""

    _plain_class: type
    _extended_class: type
    _extend_again: Any

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class of Keras: what is saved, and what `isinstance` may ask for."""
        return self._plain_class

    @classmethod
    def from_config(cls, config: dict[str, Any], **keywords: Any) -> Any:
        """Returns a new optimizer of this configuration, extended in the same way."""
        plain = cls._plain_class.from_config(config, **keywords)  # type: ignore[attr-defined]
        return reapply_extensions(cls, plain)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Returns a copy that is extended too; Keras copies by what it would save."""
        reduced: Any = self.__reduce__()
        make, arguments = reduced[:2]
        return reapply_extensions(type(self), make(*arguments))


def extend(optimizer: Any, extension: type[Extension], **attributes: Any) -> Any:
    """Returns the optimizer with an extension in front of it; the two share one state.

    Args:
        optimizer: A Keras optimizer that is not built yet; extended already or not.
        extension: What its class is to inherit from first.
        **attributes: Class attributes of the made class, which the extension uses.

    Raises:
        ConfigError: If the optimizer is built, distributed, scales the loss or accumulates.
    """
    _require_extendable(optimizer)
    again = functools.partial(extend, extension=extension, **attributes)
    return put_in_front(optimizer, extension, again, **attributes)


def put_in_front(
    optimizer: Any, extension: type[Extension], again: Callable[[Any], Any], **attributes: Any
) -> Any:
    """Returns an instance of a made class: the extension, then the optimizer's own class.

    Args:
        optimizer: A Keras optimizer; the two share one state.
        extension: What the class is to inherit from first.
        again: Puts the same in front of another optimizer, for copies.
        **attributes: Class attributes of the made class.
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
    """Returns a plain optimizer with the extensions that a class has, in their order."""
    if not issubclass(cls, Extension):
        return plain
    # Of this very class, or those below it would be found twice.
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
        problem = "one that accumulates by itself"
        fix = "use backward_passes_per_step of hvd.DistributedOptimizer instead"
    else:
        return
    raise ConfigError("optimizer", got=problem, expected="a new Keras optimizer", fix=fix)
