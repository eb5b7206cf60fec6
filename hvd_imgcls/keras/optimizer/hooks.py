"""The two places where Keras must be aware that an optimizer communicates.

Both are methods that Keras calls without involving the optimizer, so they are replaced
once, when the first optimizer is wrapped; for all other optimizers they behave as
before.

- `LossScaleOptimizer.apply` skips the inner optimizer if *this rank's* gradients are
  NaN or infinite. The other ranks would wait forever. Instead, gradients are now reduced
  first, so that all ranks get the same result. Keras wraps optimizers in `compile()` with
  mixed_float16, so this cannot be left to the user.
- `Model.compile(jit_compile="auto")` selects XLA if there is a GPU, and XLA has no
  kernel for Horovod's operations. It now does not select XLA, and logs this.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras

from hvd_imgcls.errors import SetupError
from hvd_imgcls.keras.graph.autograph import without_autograph
from hvd_imgcls.keras.graph.building import create_optimizer_variables
from hvd_imgcls.keras.optimizer.gradients import variables_of
from hvd_imgcls.keras.sharding.elementwise import require_elementwise
from hvd_imgcls.keras.synchronization.sharded import Sharded
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

logger = logging.getLogger(__name__)

_is_installed = False


def install() -> None:
    """Replaces the two methods, once.

    Raises:
        SetupError: If this version of Keras does not have them.
    """
    global _is_installed  # noqa: PLW0603 - classes are patched once per process
    if _is_installed:
        return
    for owner, method in (
        (keras.optimizers.LossScaleOptimizer, "apply"),
        (keras.Model, "_resolve_auto_jit_compile"),
    ):
        if not hasattr(owner, method):
            raise SetupError(
                f"Keras {keras.__version__} has no {owner.__name__}.{method}",
                fix="install a supported version of Keras: pip install 'keras>=3.15.1,<3.16'",
            )
    _make_loss_scaling_agree()
    _keep_xla_out()
    _is_installed = True


def _make_loss_scaling_agree() -> None:
    scaling_class = keras.optimizers.LossScaleOptimizer
    plain_apply = scaling_class.apply

    @without_autograph
    def apply(
        self: Any, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        synchronizer = synchronizer_of(self)
        if synchronizer is None or len(grads) == 0:
            plain_apply(self, grads, trainable_variables)
            return
        if isinstance(synchronizer.mode, Sharded):
            require_elementwise(self)  # raises: every rank sees only its part of the gradients
        variables = variables_of(self, grads, trainable_variables)
        create_optimizer_variables(self, variables)
        if synchronizer.has_nothing_to_do:
            plain_apply(self, grads, variables)
            return
        if synchronizer.agree_before_scaling(self.inner_optimizer):
            plain_apply(self, synchronizer.agree_on_finite(grads), variables)
            return

        def apply_reduced(reduced: list[Any], their_variables: list[Any]) -> None:
            with synchronizer.suspended():
                plain_apply(self, reduced, their_variables)

        synchronizer.step(self, grads, variables, apply_reduced)

    scaling_class.apply = apply


def _keep_xla_out() -> None:
    plain_resolve = keras.Model._resolve_auto_jit_compile
    warned: set[int] = set()

    def resolve(self: Any) -> bool:
        chosen = bool(plain_resolve(self))
        synchronizer = synchronizer_of(getattr(self, "optimizer", None))
        if not chosen or synchronizer is None or synchronizer.reduction.size == 1:
            return chosen
        if id(synchronizer) not in warned:  # Keras calls this more than once
            warned.add(id(synchronizer))
            logger.warning(
                'jit_compile="auto": XLA is disabled for %s, because functions compiled by '
                "XLA cannot contain Horovod's operations; pass jit_compile=False to silence this",
                self.name,
            )
        return False

    keras.Model._resolve_auto_jit_compile = resolve
