"""Programs on the hosts of a network, and the end of their output for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import HvdImgclsError

READY = "ready"
"""What a service writes when it can be used."""
_LINES_OF_MESSAGE = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A process on a host.

    Attributes:
        name: Its name, for messages.
        host: Index of the host.
        command: The command.
        environment: All its variables.
        is_service: Whether it is started before the others and ended after them. It writes the
            line `ready` when it is.
    """

    name: str
    host: int
    command: Sequence[str]
    environment: Mapping[str, str]
    is_service: bool = False


class Running:
    """A program that was started.

    Args:
        program: The program.
        output: The file with its standard output and error.

    Attributes:
        code: Its exit code, negative for a signal; None while it runs.
    """

    def __init__(self, program: Program, output: Path) -> None:
        self.program = program
        self.output = output
        self.code: int | None = None
        self._position = 0

    def new_lines(self) -> list[str]:
        """Returns the complete lines that it has written since the last call."""
        with self.output.open("rb") as file:
            file.seek(self._position)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._position += len(complete) + len(newline)
        return complete.decode(errors="replace").splitlines() if newline else []

    @property
    def is_done(self) -> bool:
        """Whether it has ended or, as a service, is ready."""
        if self.program.is_service:
            return READY in self.output.read_text(errors="replace").splitlines()
        return self.code is not None

    @property
    def has_failed(self) -> bool:
        """Whether it has ended in another way than intended."""
        return self.code is not None and (self.code != 0 or self.program.is_service)

    def error(self, how: str) -> HvdImgclsError:
        """Returns an error with the end of its output.

        Args:
            how: What happened, with a verb in the past.
        """
        lines = self.output.read_text(errors="replace").splitlines()[-_LINES_OF_MESSAGE:]
        return HvdImgclsError(f"{self.program.name} {how}:\n" + "\n".join(lines))
