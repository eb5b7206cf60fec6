"""A slow network as a context manager."""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hvd_imgcls.bench.network.counters import Sent
from hvd_imgcls.bench.network.link import Link, host_name, hosts_file
from hvd_imgcls.bench.network.programs import Program, Running
from hvd_imgcls.bench.network.supervisor import request_of
from hvd_imgcls.errors import HvdImgclsError, SetupError

logger = logging.getLogger(__name__)

TOOLS = {"ip": "iproute2", "tc": "iproute2", "unshare": "util-linux", "mount": "mount"}
"""Programs that are needed, and their packages in Debian."""

_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc")
_ANSWER_SECONDS = 60.0
_POLL_SECONDS = 0.1
# After a process has failed, the others may say why before they are killed.
_GRACE_SECONDS = 3.0


class SlowNetwork:
    """Some hosts with slow links between them, on this machine, whose own network is not used.

    Everything ends with the context, and if this process is killed.

    Args:
        link: The properties of the network.

    Attributes:
        link: The same.
        folder: A folder for files of programs, which is removed with the network.

    Raises:
        SetupError: If this is not root, or if programs or the kernel's TUN devices are missing.
    """

    def __init__(self, link: Link) -> None:
        require_privileges()
        self.link = link
        self._folder = tempfile.TemporaryDirectory(prefix="hvd-imgcls-network-")
        self.folder = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._running: dict[str, Running] = {}

    def __enter__(self) -> Self:
        hosts = self.folder / "hosts"
        hosts.write_text(hosts_file(self.link.num_hosts), encoding="ascii")
        words = [sys.executable, "-m", "hvd_imgcls.bench.network.supervisor"]
        try:
            self._process = subprocess.Popen(
                [*_NAMESPACES, *words, request_of(self.link), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # A Ctrl-C in the terminal interrupts only this process, which ends the others.
                start_new_session=True,
            )
            self._answer("ready")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is not None and process.stdin and process.stdout:
            process.stdin.close()
            try:
                process.wait(_ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        self._folder.cleanup()

    def sent(self) -> tuple[list[Sent], dict[str, Any]]:
        """Returns what each host has sent so far, and the relay's counts since the last call."""
        self._request({"counters": True})
        answer = self._answer("counters")
        return [Sent.from_json(one) for one in answer["counters"]], answer["relay"]

    def run(
        self,
        programs: Sequence[Program],
        timeout_seconds: float,
        on_line: Callable[[Program, str], None] = lambda program, line: None,
    ) -> list[Sent]:
        """Runs programs on the hosts until all but the services have ended; logs what was sent.

        Args:
            programs: The programs.
            timeout_seconds: Maximum duration.
            on_line: Called with every line that a program has written.

        Returns:
            What each host has sent.

        Raises:
            HvdImgclsError: If a program fails or the time is over, with the end of its output.
        """
        deadline = time.monotonic() + timeout_seconds
        before, _ = self.sent()
        paths = [self.folder / f"{index}.txt" for index in range(len(programs))]
        all_of_them = [Running(one, path) for one, path in zip(programs, paths, strict=True)]
        self._running = {one.program.name: one for one in all_of_them}
        try:
            for are_services in (True, False):
                those = [one for one in all_of_them if one.program.is_service == are_services]
                self._start(those)
                self._wait(those, deadline, on_line)
        finally:
            self._stop_all()
        after, relay = self.sent()
        sent = [two - one for one, two in zip(before, after, strict=True)]
        for index, one in enumerate(sent):
            logger.info("  %s sent %s", host_name(index), one.describe())
        logger.info(
            "  the relay was %(mean ms late).2f ms late on average, at most %(most ms late).1f ms, "
            "and took %(cpu seconds).2f s of CPU time",
            relay,
        )
        return sent

    def _start(self, those: Sequence[Running]) -> None:
        for one in those:
            one.output.write_bytes(b"")
            request = {
                "name": one.program.name,
                "host": one.program.host,
                "command": list(one.program.command),
                "environment": dict(one.program.environment),
                "directory": os.getcwd(),
                "output": str(one.output),
            }
            self._request({"start": request})

    def _wait(
        self, those: Sequence[Running], deadline: float, on_line: Callable[[Program, str], None]
    ) -> None:
        """Waits until all are done.

        Raises:
            HvdImgclsError: If a program of this network fails or the time is over.
        """
        failed: Running | None = None
        while True:
            self._read(_POLL_SECONDS)
            for one in those:
                for line in one.new_lines():
                    on_line(one.program, line)
            if failed is None:
                failed = next((one for one in self._running.values() if one.has_failed), None)
                if failed is not None:
                    deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
            waiting = [one for one in those if not one.is_done]
            if failed is not None and (not waiting or time.monotonic() > deadline):
                raise failed.error(f"ended with exit code {failed.code}")
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise waiting[0].error("did not end in time")

    def _stop_all(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._request({"stop": True})
            self._answer("stopped")

    def _request(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise HvdImgclsError("the network was not started; use it in a `with` statement")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise HvdImgclsError("the network has ended; its last messages are above") from error

    def _answer(self, key: str) -> dict[str, Any]:
        """Waits for an answer and returns it.

        Raises:
            HvdImgclsError: If the network has ended or does not answer.
        """
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline:
            for answer in self._read(_POLL_SECONDS):
                if "error" in answer:
                    raise HvdImgclsError(f"the network could not be made: {answer['error']}")
                if key in answer:
                    return answer
        raise HvdImgclsError(f"the network did not answer within {_ANSWER_SECONDS:.0f} s")

    def _read(self, most_seconds: float) -> list[dict[str, Any]]:
        """Returns the answers that have arrived, and notes which programs have ended."""
        if self._process is None or self._process.stdout is None:
            return []
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], most_seconds)[0]:
            return []
        received = os.read(descriptor, 65536)
        if not received:
            raise HvdImgclsError(
                f"the network ended with exit code {self._process.wait()}; if namespaces are not "
                "permitted: a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
            )
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        answers = [json.loads(line) for line in lines]
        for answer in answers:
            if "ended" in answer:
                name, code = answer["ended"]
                self._running[name].code = code
        return answers


def require_privileges() -> None:
    """Checks that namespaces and devices can be made.

    Raises:
        SetupError: If not, with what is missing.
    """
    if os.geteuid() != 0:
        raise SetupError(
            f"a slow network needs root, to make network namespaces; this is user {os.geteuid()}",
            fix="use sudo, or measure a real network: horovodrun ... hvd-imgcls bench allreduce",
        )
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise SetupError(f"{tool} is not installed", fix=f"apt-get install {package}")
    if not os.path.exists("/dev/net/tun"):
        raise SetupError("/dev/net/tun is missing", fix="modprobe tun")
