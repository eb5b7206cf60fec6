"""Steps with plain Horovod, as its gradient tape reduces gradients. Started by a rank.

    python -m hvd_imgcls.bench.communication.plain_rank COMPUTE_SECONDS

Serves lines on standard input, the number of steps, each answered by the seconds per step.
"""

from __future__ import annotations

import sys

import horovod.tensorflow as hvd  # noqa: TID251 - the baseline
import keras
import tensorflow as tf

from hvd_imgcls.bench.communication.gradient_steps import make_arm, make_gradients, make_optimizer


def main(words: list[str]) -> None:
    """Joins the other processes of the baseline and serves."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    hvd.init()
    sgd = make_optimizer()

    def apply(gradients: list[tf.Tensor], variables: list[keras.Variable]) -> None:
        reduced = [
            hvd.allreduce(gradient, op=hvd.Average, name=f"gradient_{index}")
            for index, gradient in enumerate(gradients)
        ]
        sgd.apply(reduced, variables)

    arm = make_arm(apply, make_gradients(hvd.rank()), float(words[0]))
    _answer("ready")
    for line in sys.stdin:
        _answer(str(arm(int(line))))


def _answer(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
