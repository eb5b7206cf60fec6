"""A file system that loses power: what was not synced may be lost, in any combination."""

import contextlib
import os
import random

from hvd_imgcls.checkpoints.store import CheckpointStore
from tests.support.checkpoint_disks import CountingDisk
from tests.support.checkpoint_scenarios import SCENARIOS


class PowerOffError(BaseException):
    """The power is off; no program can handle it."""


class _File:
    def __init__(self, content=b""):
        self.content = bytearray(content)
        self.synced = bytes(content)


class _Directory:
    """Names in a directory.

    Attributes:
        names: What they are now.
        synced: What they were when the directory was synced.
        changes: What happened since: (name to remove or None, name to add or None, what it is).
    """

    def __init__(self):
        self.names = {}
        self.synced = {}
        self.changes = []

    def change(self, removed, added, node):
        self.changes.append((removed, added, node))
        _apply(self.names, removed, added, node)

    def sync(self):
        self.synced = dict(self.names)
        self.changes = []


def _apply(names, removed, added, node):
    names.pop(removed, None)
    if added is not None:
        names[added] = node


class PowerDisk(CountingDisk):
    """Loses power after some calls.

    Args:
        root: The directory that surely exists; calls are within it.
        number: How many calls are made before; None for all.
        ignores: Whether a call does nothing, from its method and its arguments.
    """

    def __init__(self, root, number=None, ignores=lambda name, *args: False):
        super().__init__()
        self.root = root
        self.number = number
        self.ignores = ignores
        self._files = {}
        self._tree = _load(root)

    def call(self, name, function, args):
        if len(self.calls) == self.number:
            raise PowerOffError
        result = super().call(name, function, args)
        follow = getattr(self, f"_after_{name}", None)
        if follow is not None and not self.ignores(name, *args):
            follow(result, *args)
        return result

    def remains(self, choice):
        """Writes what remains of the files back to the root, after the power is on again.

        Args:
            choice: One of `CHOICES`, or the seed of a random choice.
        """
        for descriptor in self._files:
            os.close(descriptor)
        _clear(self.root)
        _Remains(choice).write(self._tree, self.root)

    def _find(self, path):
        node = self._tree
        for name in path.relative_to(self.root).parts:
            node = node.names[name]
        return node

    def _after_create(self, descriptor, path):
        self._files[descriptor] = _File()
        self._find(path.parent).change(None, path.name, self._files[descriptor])

    def _after_write(self, count, descriptor, piece):
        self._files[descriptor].content += piece[:count]

    def _after_sync(self, _, descriptor):
        self._files[descriptor].synced = bytes(self._files[descriptor].content)

    def _after_close(self, _, descriptor):
        del self._files[descriptor]

    def _after_make_directory(self, _, path):
        self._find(path.parent).change(None, path.name, _Directory())

    def _after_sync_directory(self, _, path):
        self._find(path).sync()

    def _after_rename(self, _, source, destination):
        assert source.parent == destination.parent
        self._find(source.parent).change(source.name, destination.name, self._find(source))

    def _after_unlink(self, _, path):
        self._find(path.parent).change(path.name, None, None)

    _after_remove_directory = _after_unlink


CHOICES = ("nothing", "names", "names and sizes", "contents")


class _Remains:
    """What remains of changes that were not synced.

    Args:
        choice: `nothing`; `names` of files and directories without contents; `names and sizes`,
            with zeros as contents; `contents` without names; or the seed of a random choice.
    """

    def __init__(self, choice):
        self._choice = choice
        self._random = random.Random(choice) if isinstance(choice, int) else None

    def write(self, directory, path):
        names = dict(directory.synced)
        for change in directory.changes:
            if self._has_name():
                _apply(names, *change)
        for name, node in sorted(names.items()):
            if isinstance(node, _Directory):
                (path / name).mkdir()
                self.write(node, path / name)
            else:
                (path / name).write_bytes(self._content(node))

    def _has_name(self):
        if self._random:
            return self._random.random() < 0.5
        return self._choice.startswith("names")

    def _content(self, file):
        rest = bytes(file.content[len(file.synced) :])
        if self._random:
            written = self._random.randint(0, len(rest))
            zeros = self._random.choice([0, len(rest) - written])
            return file.synced + rest[:written] + bytes(zeros)
        if self._choice == "names and sizes":
            rest = bytes(len(rest))
        return (
            file.synced + rest if self._choice in ("names and sizes", "contents") else file.synced
        )


def _load(path):
    directory = _Directory()
    for child in path.iterdir():
        directory.names[child.name] = _load(child) if child.is_dir() else _File(child.read_bytes())
    directory.sync()
    return directory


def _clear(root):
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def choices(num_random):
    """Returns all choices, with some random ones."""
    return [*CHOICES, *range(num_random)]


def lose_power(directory, name, number, choice, *, store=CheckpointStore, **how):
    """Runs a scenario until the power is lost.

    Args:
        directory: The directory of the store.
        name: Name of the scenario.
        number: How many calls are made before.
        choice: What remains, see `PowerDisk.remains`.
        store: The class of the store.
        how: `ignores` of `PowerDisk`.
    """
    run_until_off(directory, number, choice, SCENARIOS[name].operate, store=store, **how)


def run_until_off(directory, number, choice, operate, *, store=CheckpointStore, **how):
    """Calls a function with a store until the power is lost, see `lose_power`."""
    disk = PowerDisk(directory.parent, number, **how)
    with contextlib.suppress(PowerOffError):
        operate(store(directory, disk))
    disk.remains(choice)
