"""Runs the command `hvd-imgcls` with a fault at one moment, named in the environment.

    HVD_IMGCLS_FAULT=kill@before_step:rank=1:step=7 python -m tests.support.fault_injection ...

The product knows nothing of it: functions are replaced here, after their modules are imported.
With `HVD_IMGCLS_LEDGER=directory`, every rank also writes down there which images it is trained on.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ledger import LEDGER, keep_ledger
from tests.support.protections import WITHOUT, take_out

VARIABLE = "HVD_IMGCLS_FAULT"
POLL_ALWAYS = "HVD_IMGCLS_POLL_ALWAYS"
"""If set, ranks ask each other after every step whether one should stop, not once per second."""


@dataclass(frozen=True)
class Fault:
    """What happens, when and where.

    Attributes:
        action: A key of `ACTIONS`.
        moment: A moment of `MOMENTS`.
        rank: The rank.
        step: The step, 1-based, or for moments without steps how often it passes.
    """

    action: str
    moment: str
    rank: int
    step: int

    @classmethod
    def parse(cls, text: str) -> Fault:
        head, *rest = text.split(":")
        action, _, moment = head.partition("@")
        values = dict(part.split("=") for part in rest)
        return cls(action, moment, int(values.get("rank", 0)), int(values.get("step", 1)))


def _raise() -> None:
    raise RuntimeError("a fault of the test")


def _exhaust_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, resource.RLIM_INFINITY))
    hold = [bytearray(2**28) for _ in range(1000)]
    del hold


def _loop() -> None:
    while True:
        time.sleep(0.01)


def _read_what_never_comes() -> None:
    receiver, _ = os.pipe()
    os.read(receiver, 1)


def _signal(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


ACTIONS: dict[str, Callable[[], None]] = {
    "kill": _signal(signal.SIGKILL),
    "term": _signal(signal.SIGTERM),
    "segv": _signal(signal.SIGSEGV),
    "stop": _signal(signal.SIGSTOP),
    "raise": _raise,
    "memory": _exhaust_memory,
    "loop": _loop,
    "stuck": _read_what_never_comes,
    "slow": lambda: time.sleep(0.1),
    "pause": lambda: time.sleep(4),
}


class Trigger:
    """Counts how often a moment passes, and acts once at the right one."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._count = 0
        self._is_done = False

    def passes(self) -> None:
        self._count += 1
        self.reaches(self._count)

    def reaches(self, step: int) -> None:
        if self._is_due(step):
            self._is_done = True
            # On standard error, which is not buffered: a process that is killed flushes nothing.
            os.write(2, f"FAULT {self._fault.action}@{self._fault.moment}\n".encode())
            ACTIONS[self._fault.action]()

    def _is_due(self, step: int) -> bool:
        if self._fault.action == "slow":
            return step >= self._fault.step
        return step == self._fault.step and not self._is_done

    def reaches_soon(self, step: int, seconds: float) -> None:
        """Acts in a thread, while the step goes on; an exception is raised at once instead."""
        if step == self._fault.step and not self._is_done:
            if self._fault.action in ("raise", "memory", "loop"):
                self.reaches(step)
                return
            threading.Timer(seconds, self.reaches, (step,)).start()


def before(owner: Any, name: str, action: Callable[..., None]) -> None:
    """Makes a function call `action` first, with its arguments."""
    plain = getattr(owner, name)

    def function(*arguments: Any, **keywords: Any) -> Any:
        action(*arguments)
        return plain(*arguments, **keywords)

    setattr(owner, name, function)


def after(owner: Any, name: str, action: Callable[..., None]) -> None:
    """Makes a function call `action` last, with its arguments."""
    plain = getattr(owner, name)

    def function(*arguments: Any, **keywords: Any) -> Any:
        result = plain(*arguments, **keywords)
        action(*arguments)
        return result

    setattr(owner, name, function)


def _rendezvous(trigger: Trigger) -> None:
    from hvd_imgcls.distributed import starting

    before(starting, "_start_horovod", lambda *_: trigger.passes())


def _model(trigger: Trigger) -> None:
    from hvd_imgcls.workflows import train

    before(train, "make_model", lambda *_: trigger.passes())


def _before_broadcast(trigger: Trigger) -> None:
    from hvd_imgcls.keras.callbacks.broadcast import BroadcastGlobalVariablesCallback

    before(BroadcastGlobalVariablesCallback, "on_train_begin", lambda *_: trigger.passes())


def _in_training(hook: str) -> Callable[[Trigger], None]:
    def install(trigger: Trigger) -> None:
        from hvd_imgcls.workflows.training.one_training import OneTraining

        before(OneTraining, hook, lambda self, *_: trigger.reaches(_step(self)))

    return install


def _within_step(seconds: float) -> Callable[[Trigger], None]:
    def install(trigger: Trigger) -> None:
        from hvd_imgcls.workflows.training.one_training import OneTraining

        before(
            OneTraining,
            "on_train_batch_begin",
            lambda self, *_: trigger.reaches_soon(_step(self), seconds),
        )

    return install


def _step(training: Any) -> int:
    """Returns the step that is being made, 1-based."""
    return int(training._position.num_batches) + 1


def _of_disk(name: str, when: Callable[..., None]) -> Callable[[Trigger], None]:
    def install(trigger: Trigger) -> None:
        from hvd_imgcls.checkpoints.disk import Disk

        when(Disk, name, lambda *_: trigger.passes())

    return install


def _read(trigger: Trigger) -> None:
    import tensorflow as tf

    from hvd_imgcls.data.pipeline import dataset

    plain = dataset._assembler

    def assembler(*arguments: Any) -> Callable[..., Any]:
        assemble = plain(*arguments)

        def read(images: Any, *rest: Any) -> Any:
            return assemble(_passing(tf, trigger, images), *rest)

        return read

    dataset._assembler = assembler


def _read_held_out(trigger: Trigger) -> None:
    import tensorflow as tf

    from hvd_imgcls.workflows import evaluate

    plain = evaluate.evaluation_dataset

    def evaluation_dataset(*arguments: Any, **keywords: Any) -> Any:
        return plain(*arguments, **keywords).map(
            lambda images, *rest: (_passing(tf, trigger, images), *rest)
        )

    evaluate.evaluation_dataset = evaluation_dataset


def _passing(tf: Any, trigger: Trigger, images: Any) -> Any:
    """Returns images of a dataset, which pass the trigger when they are read."""

    def read(values: Any) -> Any:
        trigger.passes()
        return values

    return tf.ensure_shape(tf.numpy_function(read, [images], images.dtype), images.shape)


def _evaluation(trigger: Trigger) -> None:
    from hvd_imgcls.workflows import evaluate

    before(evaluate, "evaluate", lambda *_: trigger.passes())


def _final_evaluation(trigger: Trigger) -> None:
    from hvd_imgcls.workflows.training import outcome

    class Evaluation(outcome.PhaseEvaluation):
        def evaluate(self, *arguments: Any) -> Any:
            trigger.passes()
            return super().evaluate(*arguments)

    # Only here: it also evaluates during training.
    outcome.PhaseEvaluation = Evaluation  # type: ignore[misc]


def _model_file(trigger: Trigger) -> None:
    from hvd_imgcls.workflows.training import outcome

    before(outcome, "_require_same_weights", lambda *_: trigger.passes())


def _report(trigger: Trigger) -> None:
    from hvd_imgcls.workflows import train

    before(train, "write_report", lambda *_: trigger.passes())


def _done(trigger: Trigger) -> None:
    from hvd_imgcls.workflows import train

    after(train, "finish_run", lambda *_: trigger.passes())


MOMENTS: dict[str, Callable[[Trigger], None]] = {
    "import": lambda trigger: trigger.passes(),
    "rendezvous": _rendezvous,
    "model": _model,
    "before_broadcast": _before_broadcast,
    "before_step": _in_training("on_train_batch_begin"),
    "early_in_step": _within_step(0.0005),
    "late_in_step": _within_step(0.003),
    "after_step": _in_training("on_train_batch_end"),
    "checkpoint_write": _of_disk("write", before),
    "before_rename": _of_disk("rename", before),
    "after_rename": _of_disk("rename", after),
    "retention": _of_disk("unlink", before),
    "read": _read,
    "read_held_out": _read_held_out,
    "evaluation": _evaluation,
    "final_evaluation": _final_evaluation,
    "model_file": _model_file,
    "report": _report,
    "done": _done,
}


def install(fault: Fault) -> None:
    """Installs a fault when TensorFlow has been imported, as the command does it."""
    trigger = Trigger(fault)
    if fault.moment == "import":
        trigger.passes()
        return
    from hvd_imgcls.commands import train

    after(train, "import_tensorflow_quietly", lambda *_: MOMENTS[fault.moment](trigger))


def poll_always() -> None:
    """Makes every rank notice a signal after the step in which another one received it."""
    from hvd_imgcls.commands import train

    def patch(*_: Any) -> None:
        from hvd_imgcls.distributed.polling import Polling

        Polling._next_interval = lambda self: 1  # type: ignore[method-assign]

    after(train, "import_tensorflow_quietly", patch)


if __name__ == "__main__":
    if VARIABLE in os.environ:
        # Several, separated by ;, are for the launches of an elastic job, one for each.
        faults = os.environ[VARIABLE].split(";")
        launch = int(os.environ.get("HVD_IMGCLS_ELASTIC_RESTART", "0"))
        planned = Fault.parse(faults[launch]) if launch < len(faults) else None
        by_mpirun = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
        if planned is not None and planned.rank == int(os.environ.get("HOROVOD_RANK", by_mpirun)):
            install(planned)
    if POLL_ALWAYS in os.environ:
        poll_always()
    if LEDGER in os.environ:
        keep_ledger(os.environ[LEDGER])
    if WITHOUT in os.environ:
        take_out(os.environ[WITHOUT])
    from hvd_imgcls.cli import run

    sys.argv[0] = "hvd-imgcls"
    run()
