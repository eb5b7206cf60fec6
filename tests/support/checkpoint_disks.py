"""File systems with faults, for the checkpoint store."""

import os
import signal

from hvd_imgcls.checkpoints.disk import Disk

METHODS = [name for name in vars(Disk) if callable(getattr(Disk, name))]
READS = ("names", "open", "size", "read_into")
QUERIES = (*READS, "exists", "is_directory")


class FastDisk(Disk):
    """Does not wait for the disk, which matters only to a power failure."""

    piece_bytes = 256
    is_direct = False

    def sync(self, file):
        pass

    def sync_directory(self, path):
        pass


class CountingDisk(FastDisk):
    """Counts calls.

    Attributes:
        calls: The methods that were called, in order.
    """

    def __init__(self):
        self.calls = []

    def call(self, name, function, args):
        self.calls.append(name)
        return function(*args)


def _counted(name):
    def method(self, *args):
        return self.call(name, getattr(super(CountingDisk, self), name), args)

    return method


for _name in METHODS:
    setattr(CountingDisk, _name, _counted(_name))


class KillingDisk(CountingDisk):
    """Kills its process at a call.

    Args:
        number: How many calls there are, with the one at which it does.
        is_within: Whether that is a write, of which half is done.
    """

    def __init__(self, number, is_within):
        super().__init__()
        self.number = number
        self.is_within = is_within
        self._kill_if_due()

    def call(self, name, function, args):
        if self.is_within and len(self.calls) + 1 == self.number:
            os.write(args[0], args[1][: len(args[1]) // 2])
            self.calls.append(name)
        else:
            result = super().call(name, function, args)
        self._kill_if_due()
        return result

    def _kill_if_due(self):
        if len(self.calls) == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


class FailingDisk(CountingDisk):
    """Raises errors.

    Args:
        number: Of the first call that fails, from 1.
        error: Its errno.
        stays: Whether all later calls that write fail, too.
        methods: Which methods are counted.
    """

    def __init__(self, number, error, *, stays=False, methods=METHODS):
        super().__init__()
        self.number = number
        self.error = error
        self.stays = stays
        self.methods = methods

    def call(self, name, function, args):
        if name not in self.methods:
            return function(*args)
        self.calls.append(name)
        if len(self.calls) == self.number or (self.stays and len(self.calls) > self.number):
            if name == "write":
                os.write(args[0], args[1][: len(args[1]) // 2])
            if name == "close":
                os.close(args[0])
            raise OSError(self.error, os.strerror(self.error))
        return function(*args)
