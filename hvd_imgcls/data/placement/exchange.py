"""Exchanges images between hosts in rounds of several steps, by `alltoall`.

Every rank derives from the order of the epoch which images every other rank needs and when, so
there are no requests: in each round, a rank reads the images that the others need from its own
disk, one `alltoall` sends them, and the received images are put into their slots.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.data.order import positions
from hvd_imgcls.data.order.division import sender_positions
from hvd_imgcls.data.order.epoch_order import Numbers
from hvd_imgcls.data.placement.label_table import Relabelled
from hvd_imgcls.data.sources.base import ImageSource
from hvd_imgcls.data.sources.records.host_records import HostRecords
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.plan import Plan

# Encoded images of one rank in a round: two rounds are in memory, the current and the next one.
ROUND_BYTES = 64e6
_LENGTH = np.dtype("<i8")


def exchanged_records(source: ImageSource, size: int) -> HostRecords | None:
    """Returns the record files if images come from other ranks, else None."""
    records = source.source if isinstance(source, Relabelled) else source
    if not isinstance(records, HostRecords):
        return None
    division = records.division
    return records if division.exchange > 0 and min(division.num_hosts, size) > 1 else None


class Exchange:
    """One rank's side of the exchange.

    Args:
        records: The images.
        plan: The plan of the run.
        rank: This rank.
        collectives: Communication between the ranks.
    """

    def __init__(
        self, records: HostRecords, plan: Plan, rank: int, collectives: Collectives
    ) -> None:
        self._records = records
        self._division = records.division
        self._plan = plan
        self._collectives = collectives
        self._positions = [self._division.position_of(other) for other in range(plan.size)]
        self._own = self._positions[rank]
        self._homes = self._division.home_of()
        # Slots of the current epoch: rounds of one epoch are consecutive.
        self._slots_of = functools.lru_cache(maxsize=2)(
            lambda epoch: positions.epoch_slots(plan, epoch, self._division)
        )
        per_step = records.mean_bytes * plan.global_batch_size / plan.size
        self.steps_per_round = max(1, int(ROUND_BYTES / per_step))

    def contents(self, start_epoch: int, start_step: int) -> tf.data.Dataset:
        """Returns this rank's images from a position to the end of the run. Collective.

        Returns:
            A dataset of (encoded image, example number, weight, epoch), all scalars.
        """
        rounds = tf.data.Dataset.from_tensor_slices(
            np.array(list(self._rounds(start_epoch, start_step)), np.int64).reshape(-1, 3)
        )

        def exchange(this: tf.Tensor) -> tuple[tf.Tensor, ...]:
            payload, splits = tf.numpy_function(self._pack, [this], (tf.uint8, tf.int32))
            received, _ = self._collectives.alltoall(
                tf.ensure_shape(payload, [None]), tf.ensure_shape(splits, [None]), name="exchange"
            )
            types = (tf.string, tf.int64, tf.float32)
            parts = tf.numpy_function(self._unpack, [this, received], types)
            contents, examples, weights = (tf.ensure_shape(part, [None]) for part in parts)
            return contents, examples, weights, tf.fill(tf.shape(examples), this[0])

        # Sequential, on all ranks in the same order; the next round is sent while this one is
        # used for training.
        exchanged = rounds.map(exchange).prefetch(1)
        return exchanged.flat_map(lambda *parts: tf.data.Dataset.from_tensor_slices(parts))

    def _rounds(self, start_epoch: int, start_step: int) -> Iterator[tuple[int, int, int]]:
        """Yields (epoch, first step, exclusive last step) of every round."""
        plan = self._plan
        for epoch in range(start_epoch, plan.num_epochs):
            last = min(plan.steps_per_epoch, plan.num_steps - epoch * plan.steps_per_epoch)
            first = start_step if epoch == start_epoch else 0
            for step in range(first, last, self.steps_per_round):
                yield epoch, step, min(step + self.steps_per_round, last)

    def _part(self, slots: npt.NDArray[Any], position: int) -> npt.NDArray[Any]:
        """Returns one part of some global batches, in order, `[steps * batch / size]`."""
        return slots[:, positions.slots_of(self._plan, position)].reshape(-1)

    def _senders(self, examples: Numbers, reader: int) -> Numbers:
        """Returns the position of the rank that sends each example; the reader's for padding."""
        senders = sender_positions(
            self._homes[examples], reader, num_hosts=self._division.num_hosts, size=self._plan.size
        )
        return np.where(examples < 0, reader, senders)

    def _pack(self, this: Numbers) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Returns what this rank sends in a round, and the number of bytes for each rank."""
        epoch, first, last = this.tolist()
        slots = self._slots_of(epoch)[first:last]
        payloads = []
        for reader in self._positions:
            examples = self._part(slots, reader)
            is_sent = (self._senders(examples, reader) == self._own) & (reader != self._own)
            payloads.append(_joined(self._records.read_or_nothing("train", examples[is_sent])))
        splits = np.array([len(payload) for payload in payloads], np.int32)
        return np.frombuffer(b"".join(payloads), np.uint8), splits

    def _unpack(
        self, this: Numbers, received: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.object_], Numbers, npt.NDArray[np.float32]]:
        """Returns this rank's images of a round, from its own disk and from other ranks."""
        epoch, first, last = this.tolist()
        slots = self._slots_of(epoch)[first:last]
        senders = self._senders(self._part(slots, self._own), self._own)
        examples = self._part(positions.filled(slots, self._division), self._own)
        contents = np.empty(len(examples), dtype=object)
        is_here = senders == self._own
        contents[is_here] = self._records.read_or_nothing("train", examples[is_here])
        # Received bytes are ordered by sending rank, then by their order in this round.
        visiting = _parted(received.tobytes())
        others = [position for position in self._positions if position != self._own]
        places = np.concatenate([np.flatnonzero(senders == sender) for sender in others])
        for place, content in zip(places.tolist(), visiting, strict=True):
            contents[place] = content
        self._records.keep_visiting(dict(zip(examples[places].tolist(), visiting, strict=True)))
        return contents, examples, self._part(positions.slot_weights(slots), self._own)


def _joined(contents: Sequence[bytes]) -> bytes:
    """Concatenates byte strings, each preceded by its length."""
    return b"".join(
        piece for content in contents for piece in (_LENGTH.type(len(content)).tobytes(), content)
    )


def _parted(joined: bytes) -> list[bytes]:
    """Splits the output of `_joined`, or several concatenated outputs."""
    contents, begin = [], 0
    while begin < len(joined):
        length = int(np.frombuffer(joined, _LENGTH, 1, begin)[0])
        begin += _LENGTH.itemsize
        contents.append(joined[begin : begin + length])
        begin += length
    return contents
