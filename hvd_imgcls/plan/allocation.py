"""How many examples of every global batch each rank has. Plain numbers, no tensors."""

from __future__ import annotations

import bisect
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from hvd_imgcls.plan.making import Plan


class Allocation:
    """The parts of the ranks in the global batches of a phase, which change between steps.

    A rank's part is contiguous, in the order of the ranks, so that the global batches never change.
    Batches are taken ahead of training, by threads: what was taken stays as it is, and a change
    starts with a step that no rank has taken.

    Args:
        plan: The plan of the phase. All parts are equal at first.
    """

    def __init__(self, plan: Plan) -> None:
        self._even = (plan.global_batch_size // plan.size,) * plan.size
        # First steps, ascending, and the parts from there on.
        self._steps, self._parts = [0], [self._even]
        self._lock = threading.Lock()
        self._next_step = 0

    def take(self, step: int, rank: int) -> slice:
        """Returns the slots of a rank in a global batch, which are final from now on.

        A batch may be taken again, for example to find a bad example.

        Args:
            step: Step of the phase, 0-based.
            rank: The rank.
        """
        with self._lock:
            self._next_step = max(self._next_step, step + 1)
            return self.slots(step, rank)

    def slots(self, step: int, rank: int) -> slice:
        """Returns the slots of a rank in a global batch, as far as known."""
        parts = self.parts(step)
        first = sum(parts[:rank])
        return slice(first, first + parts[rank])

    def parts(self, step: int) -> tuple[int, ...]:
        """Returns the number of examples of every rank in a step, 0-based."""
        return self._parts[bisect.bisect_right(self._steps, step) - 1]

    def num_equal(self, step: int) -> int:
        """Returns how many steps, the last of which is `step`, have had the same parts."""
        return step + 1 - self._steps[bisect.bisect_right(self._steps, step) - 1]

    def examples(self, first_step: int, last_step: int) -> list[int]:
        """Returns how many examples every rank has in steps `first_step` to `last_step - 1`."""
        total = [0] * len(self._even)
        bounds = [*self._steps[1:], last_step]
        for first, last, parts in zip(self._steps, bounds, self._parts, strict=True):
            steps = max(0, min(last, last_step) - max(first, first_step))
            total = [count + steps * part for count, part in zip(total, parts, strict=True)]
        return total

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """Context manager in which no batch is taken; yields the first step that was not."""
        with self._lock:
            yield self._next_step

    def change(self, step: int, parts: Sequence[int]) -> None:
        """Changes the parts from a step on that no rank has taken.

        Args:
            step: The first one, 0-based.
            parts: The number of examples of every rank.
        """
        if sum(parts) != sum(self._even) or len(parts) != len(self._even):
            raise ValueError(f"parts {parts} of {sum(self._even)} examples")
        while self._steps and self._steps[-1] >= step:
            self._steps.pop(), self._parts.pop()
        self._steps.append(step)
        self._parts.append(tuple(parts))

    def state(self) -> dict[str, Any]:
        """Returns all changes."""
        return {"steps": list(self._steps), "parts": [list(parts) for parts in self._parts]}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`; on another number of ranks, all parts are equal."""
        parts = [tuple(parts) for parts in state["parts"]]
        if len(parts[0]) == len(self._even):
            self._steps, self._parts = list(state["steps"]), parts
