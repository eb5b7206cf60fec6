"""The process that is the network: makes the hosts, relays packets, and starts processes on hosts.

    unshare --mount --pid --fork --kill-child --mount-proc \
        python -m hvd_imgcls.bench.network.supervisor LINK FOLDER

It is the first process of its process namespace, so that the kernel kills everything that it has
started when it ends, in whatever way; and it ends when its standard input is closed, as the
kernel does for a killed parent. Then it removes the folder, which has the file `hosts`. Requests
and answers are lines of JSON:

- `{"start": {"name", "host", "command", "environment", "directory", "output"}}`
- `{"stop": true}` kills everything that was started; answered by `{"stopped": true}`.
- `{"counters": true}` is answered by `{"counters": [...], "relay": {...}}`.
- `{"ended": [name, exit code]}` is sent when a process ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.network.link import Link
from hvd_imgcls.bench.network.namespaces import Host, make_host
from hvd_imgcls.bench.network.relay import Relay

_REQUESTS, _ANSWERS = 0, 1
# The exit code with which shells report a command that cannot be started.
_NOT_FOUND = 127
# How long the end of a process may remain unnoticed.
_POLL_SECONDS = 0.05


class Supervisor:
    """Serves requests about one network.

    Args:
        link: The properties of the network.
    """

    def __init__(self, link: Link) -> None:
        self._hosts: list[Host] = [make_host(index, link) for index in range(link.num_hosts)]
        self._relay = Relay(link, [host.tun for host in self._hosts])
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._buffer = b""

    def serve(self) -> None:
        """Relays and serves until standard input is closed."""
        answer({"ready": True})
        while True:
            if self._relay.work(_REQUESTS, _POLL_SECONDS):
                received = os.read(_REQUESTS, 65536)
                if not received:
                    return
                self._buffer += received
                *lines, self._buffer = self._buffer.split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))
            for name, process in list(self._processes.items()):
                if process.poll() is not None:
                    del self._processes[name]
                    answer({"ended": [name, process.returncode]})

    def _handle(self, request: dict[str, Any]) -> None:
        if "start" in request:
            self._start(**request["start"])
        if "stop" in request:
            self._stop()
        if "counters" in request:
            counters = [host.sent().to_json() for host in self._hosts]
            answer({"counters": counters, "relay": self._relay.to_json()})
            self._relay.reset()

    def _start(
        self,
        *,
        name: str,
        host: int,
        command: list[str],
        environment: dict[str, str],
        directory: str,
        output: str,
    ) -> None:
        with open(output, "wb") as file:
            try:
                self._processes[name] = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    # This process has one thread, so that nothing can be locked in the child.
                    preexec_fn=self._hosts[host].enter,  # noqa: PLW1509
                )
            except OSError as error:
                file.write(f"{error}\n".encode())
                answer({"ended": [name, _NOT_FOUND]})

    def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            # All processes of this namespace except this one.
            os.kill(-1, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        answer({"stopped": True})


def answer(value: dict[str, Any]) -> None:
    """Writes one line to standard output."""
    os.write(_ANSWERS, json.dumps(value).encode() + b"\n")


def prefer_this_process() -> None:
    """Lets this process run as soon as a packet is due, even on a busy machine.

    Its children are ordinary processes. It needs 0.09 of a core for every host that sends
    100 Mbit/s.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(
            0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(sched_priority=1)
        )


def main(words: list[str]) -> None:
    """Makes the network and serves; an error in making it is the first answer."""
    link, folder = Link(**json.loads(words[0])), Path(words[1])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        subprocess.run(["mount", "--bind", str(folder / "hosts"), "/etc/hosts"], check=True)
        supervisor = Supervisor(link)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stdout", None) or ""
        answer({"error": f"{error} {said}".strip()})
        return
    prefer_this_process()
    try:
        with contextlib.suppress(BrokenPipeError):
            supervisor.serve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def request_of(link: Link) -> str:
    """Returns a link as the argument of this program."""
    return json.dumps(dataclasses.asdict(link))


if __name__ == "__main__":
    main(sys.argv[1:])
