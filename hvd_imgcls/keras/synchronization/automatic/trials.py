"""Measures several ways to reduce gradients in turn, and holds the choice."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.graph.host_callback import call_python, run_if
from hvd_imgcls.keras.synchronization.automatic.measured import Measured

logger = logging.getLogger(__name__)

NOT_YET = -1
"""The choice before there is one."""


class Turn(NamedTuple):
    """What an update does, the same on all ranks.

    Attributes:
        way: Number of the way to reduce its gradients, scalar, int32; 0 is without compression.
        is_trial: Whether it is measured, and not applied unless it is way 0, scalar, bool.
    """

    way: tf.Tensor
    is_trial: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidates:
    """What is measured.

    Attributes:
        what: What is chosen, for messages.
        names: Names of the ways; the first is the one to which others are compared.
        rounds: Times of each way that count; before them is one that does not.
        warmup_steps: Updates before the measurement, which are reduced in the first way.
        choose: Returns the number of the way to take.
        reason: Returns what the log says, for the times and the choice.
    """

    what: str
    names: Sequence[str]
    rounds: int
    warmup_steps: int
    choose: Callable[[Measured], int]
    reason: Callable[[Measured, int], str]


class Trials:
    """Counts updates, times the ways in turn, and chooses one.

    Args:
        candidates: The ways, and how one is chosen.
        process_set: The participating ranks.
    """

    def __init__(self, candidates: Candidates, process_set: ProcessSet) -> None:
        self._candidates = candidates
        self._process_set = process_set
        self.names = tuple(candidates.names)
        self._num_turns = (1 + candidates.rounds) * len(self.names)

    def build(self) -> None:
        """Creates the state, eagerly, before the first update."""
        with tf.init_scope(), tf.device("CPU:0"):
            self._count = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._turns = tf.Variable(0, dtype=tf.int32, trainable=False)
            self._choice = tf.Variable(NOT_YET, dtype=tf.int32, trainable=False)
            self._hosts = tf.Variable(0, dtype=tf.int32, trainable=False)
            self._ended = tf.Variable(0.0, dtype=tf.float64, trainable=False)
            zeros = tf.zeros([self._num_turns, 2], tf.float64)
            self._times = tf.Variable(zeros, trainable=False)

    def next(self) -> Turn:
        """Returns what this update does."""
        choice = self._choice.read_value()
        is_warm = self._count.read_value() >= self._candidates.warmup_steps
        is_trial = tf.logical_and(is_warm, choice < 0)
        in_turn = self._turns.read_value() % len(self.names)
        return Turn(tf.where(is_trial, in_turn, tf.maximum(choice, 0)), is_trial)

    def end(
        self, turn: Turn, began: tf.Tensor, reduced: tf.Tensor, ended: tf.Tensor, name: str
    ) -> None:
        """Records an update, and chooses after the last one that is measured.

        Collective: every rank must call this.

        Args:
            turn: What it has done.
            began: When this rank had its gradients, in seconds, scalar, float64.
            reduced: When it had those that are reduced in the way that is measured.
            ended: When it had those that are applied.
            name: Prefix of the names of its operations, the same on all ranks.
        """

        def record() -> None:
            before = self._ended.read_value()
            step = tf.where(before > 0.0, reduced - before, 0.0)
            # The clock is wall-clock time, which may be set back.
            times = tf.maximum(tf.stack([reduced - began, step]), 0.0)
            row = self._turns.read_value()
            self._times.scatter_nd_update([[row]], [times])
            self._ended.assign(ended)
            run_if(tf.equal(self._turns.assign_add(1), self._num_turns), lambda: self._choose(name))

        run_if(turn.is_trial, record)
        self._count.assign_add(1)

    def _choose(self, name: str) -> None:
        """Chooses by the times of all ranks. Collective."""
        own, hosts = self._times.read_value(), distributed.current().topology.cross_size
        # The last rank to have its gradients has waited for no other, and so for the shortest time.
        values = tf.concat([-own[:, 0], own[:, 1], [tf.constant(hosts, tf.float64)]], axis=0)
        with tf.device("CPU:0"):
            most = distributed.current().allreduce(
                values, op=ReduceOp.MAX, name=f"{name}.times", process_set=self._process_set
            )
        count = self._num_turns
        self._times.assign(tf.stack([-most[:count], most[count:-1]], axis=1))
        self._hosts.assign(tf.cast(most[-1], tf.int32))
        self._choice.assign(call_python(self._choice_of, [self._times.read_value()], tf.int32, []))

    def _choice_of(self, times: tf.Tensor) -> int:
        """Returns the choice, and logs on the root why; does not communicate."""
        measured = Measured.of(times.numpy(), len(self.names))
        choice = self._candidates.choose(measured)
        if self._process_set.rank() == 0:
            logger.info("%s", self._candidates.reason(measured, choice))
        return choice

    def chosen(self) -> int:
        """Returns the number of the way that was chosen, or `NOT_YET`."""
        return int(self._choice.numpy())

    def state(self) -> dict[str, Any]:
        """Returns the choice, and how far the measurement is: equal on all ranks."""
        return {
            "names": list(self.names),
            "rounds": self._candidates.rounds,
            "ranks": self._process_set.size() or 1,
            "hosts": int(self._hosts.numpy()),
            "count": int(self._count.numpy()),
            "turns": int(self._turns.numpy()),
            "choice": self.chosen(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`; on other ranks or hosts, the measurement begins anew.

        Collective: every rank must call this.

        Raises:
            CheckpointError: If there were other candidates, or rounds.
        """
        self._require_same(state)
        self._count.assign(state["count"])
        now = {"ranks": self._process_set.size() or 1, "hosts": self._num_hosts()}
        then = {"ranks": state["ranks"], "hosts": state["hosts"] or now["hosts"]}
        is_root = self._process_set.rank() == 0
        # The time since an update of another process is not that of a step.
        self._ended.assign(0.0)
        if now == then:
            self._turns.assign(state["turns"])
            self._choice.assign(state["choice"])
            self._hosts.assign(state["hosts"])
            if is_root and state["choice"] != NOT_YET:
                name = self.names[state["choice"]]
                logger.info("%s %s, as measured before", self._candidates.what, name)
            return
        self._turns.assign(0)
        self._choice.assign(NOT_YET)
        if is_root:
            changes = [f"{now[k]} instead of {then[k]} {k}" for k in now if now[k] != then[k]]
            text = ", ".join(changes)
            logger.info("%s measured anew: %s", self._candidates.what, text)

    def _require_same(self, state: dict[str, Any]) -> None:
        got = (", ".join(state["names"]), state["rounds"])
        expected = (", ".join(self.names), self._candidates.rounds)
        if got != expected:
            raise CheckpointError(
                "{} by measurement: got the state of {} in {} rounds, expected {} in {}; continue "
                "with the settings that wrote it".format(self._candidates.what, *got, *expected)
            )

    def _num_hosts(self) -> int:
        """Returns on how many hosts the ranks of the run are. Collective."""
        # Where hosts have different numbers of ranks, only some ranks know all hosts.
        hosts = distributed.current().allreduce(
            tf.constant(distributed.current().topology.cross_size, tf.float64),
            op=ReduceOp.MAX,
            name="hosts_of_trials",
            process_set=self._process_set,
        )
        return int(hosts.numpy())

    def times(self) -> np.ndarray:
        """Returns the times of this rank so far, or those of all; `[turns, 2]`, seconds."""
        return self._times.numpy()

    def restore_times(self, times: np.ndarray) -> None:
        """Restores the result of `times`."""
        self._times.assign(times)
