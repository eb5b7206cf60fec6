"""Operations of our networks that tf2onnx does not support."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


@functools.cache
def teach_operations() -> None:
    """Registers converters with tf2onnx, which would otherwise emit operators unknown to runtimes.

    Keras's GELU uses `Erfc`, the complementary error function.
    """
    from tf2onnx.handler import tf_op
    from tf2onnx.utils import make_name

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            node.type = "Erf"
            one = ctx.make_const(make_name("one"), np.ones([], np.float32))
            erf = node.output[0]
            ctx.insert_new_node_on_output(
                "Sub", erf, inputs=[one.output[0], erf], name=make_name("erfc")
            )
