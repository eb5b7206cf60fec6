"""A Slurm of its own: controller, nodes and munge in a temporary directory, for root only.

`Slurm({"n1": "127.0.0.1", "n2": "127.0.0.1"})` has two nodes on this machine. With hosts in
namespaces, each node is one of them, and the controller runs on the first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from tests.support.hosts import Hosts
from tests.support.launch import ROOT
from tests.support.program import TAG, processes_of

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "salloc", "srun", "scontrol", "scancel", "squeue")
START_SECONDS = 30
KILL_WAIT = 30
_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


def missing() -> str:
    """Returns why this machine cannot have a Slurm of its own, '' if it can."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    absent = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=path) is None]
    if absent:
        return f"without {', '.join(absent)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "not root"


needs_slurm = pytest.mark.skipif(bool(missing()), reason=f"Slurm: {missing()}")


class Slurm:
    """A cluster.

    Args:
        addresses: The address of each node, by its name.
        hosts: Hosts in namespaces, of which host number i is node number i; None for nodes that
            are all this machine.
        settings: What is different in slurm.conf.
        cpus: CPUs of a node.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        hosts: Hosts | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        cpus: int = 2,
    ) -> None:
        self._addresses = dict(addresses)
        self._hosts = hosts
        self._settings = dict(settings or {})
        self._cpus = cpus
        self._directory = tempfile.TemporaryDirectory(prefix="slurm-")
        self.folder = Path(self._directory.name)
        self.tag = uuid.uuid4().hex
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SLURM_")},
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "PYTHONPATH": str(ROOT),
            TAG: self.tag,
        }

    def __enter__(self) -> Slurm:
        try:
            self._write_configuration()
            self._daemon(1, [*self._munged()])
            self._daemon(1, ["slurmctld"])
            for number, name in enumerate(self._addresses, start=1):
                self.start_node(number, name)
            self._wait_for_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._run(["squeue", "--noheader", "--format=%i"], check=False).stdout.split():
            self._run(["scancel", "--signal=KILL", "--full", job], check=False)
        for process in processes_of(self.tag):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        self._directory.cleanup()

    def start_node(self, number: int, name: str) -> None:
        """Starts the daemon of a node."""
        self._daemon(number, ["slurmd", "-N", name])

    def crash(self, name: str) -> None:
        """Kills everything on a node, which is a host in a namespace."""
        assert self._hosts is not None
        self._hosts.crash(list(self._addresses).index(name) + 1)

    def run(
        self, words: Sequence[str], cwd: Path, *, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command of Slurm on the first node, and returns how it ended."""
        return self._run(words, cwd=cwd, check=False, seconds=seconds)

    def submit(self, script: str, cwd: Path, *options: str) -> str:
        """Submits a script, whose output is in `job.txt`; returns the number of the job."""
        path = cwd / "job.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        words = ["sbatch", "--parsable", "--output=job.txt", "--open-mode=append", *options]
        return self._run([*words, str(path)], cwd=cwd).stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """Returns the properties of a job."""
        text = self._run(["scontrol", "--oneliner", "show", "job", job]).stdout
        return dict(word.partition("=")[::2] for word in text.split())

    def wait_for_output(self, text: str, cwd: Path, seconds: float, count: int = 1) -> str:
        """Waits until a job has written a text some number of times; returns all of it."""
        deadline = time.monotonic() + seconds
        path = cwd / "job.txt"
        while not path.exists() or path.read_text(errors="replace").count(text) < count:
            said = path.read_text(errors="replace") if path.exists() else ""
            assert time.monotonic() < deadline, f"no {text!r} in:\n{said}\n{self._log()}"
            time.sleep(0.1)
        return path.read_text(errors="replace")

    def wait_for_end(self, job: str, seconds: float) -> dict[str, str]:
        """Returns the properties of a job that has ended, with everything it started."""
        deadline = time.monotonic() + seconds
        while (shown := self.show(job))["JobState"] not in _ENDED or self._is_completing(job):
            assert time.monotonic() < deadline, f"{shown}\n{self._log()}"
            time.sleep(0.2)
        return shown

    def command(self, *arguments: str, number: int = 1) -> subprocess.CompletedProcess[str]:
        """Runs scontrol, scancel and the like; fails the test if that fails."""
        return self._run(arguments, number=number)

    def left(self, seconds: float) -> list[psutil.Process]:
        """Returns what jobs have left running after some seconds, at best nothing."""
        deadline = time.monotonic() + seconds
        while (found := self._of_jobs()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _of_jobs(self) -> list[psutil.Process]:
        found = []
        for process in processes_of(self.tag):
            with contextlib.suppress(psutil.Error):  # it has ended
                if not process.name().startswith(("slurm", "munged")):
                    found.append(process)
        return found

    def commands(self) -> list[tuple[psutil.Process, list[str]]]:
        """Returns what runs in jobs, with the words of its command line."""
        found = []
        for process in self._of_jobs():
            with contextlib.suppress(psutil.Error):
                found.append((process, process.cmdline()))
        return found

    def _is_completing(self, job: str) -> bool:
        said = self._run(["squeue", "--noheader", "--format=%T", "--jobs", job], check=False).stdout
        return "COMPLETING" in said

    def _run(
        self,
        words: Sequence[str],
        *,
        cwd: Path | None = None,
        check: bool = True,
        seconds: float = 60,
        number: int = 1,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._on(number, words, cwd or self.folder),
            cwd=cwd or self.folder,
            env={**self.environment, "PWD": str(cwd or self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stderr}\n{self._log()}"
        return done

    def _on(self, number: int, words: Sequence[str], cwd: Path) -> list[str]:
        if self._hosts is None:
            return list(words)
        return self._hosts.words_on(number, ["env", "-C", str(cwd), *words])

    def _daemon(self, number: int, words: Sequence[str]) -> None:
        self._run(words, number=number)

    def _munged(self) -> list[str]:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        files = {"socket": "munge", "pid-file": "pid", "log-file": "munge.log", "seed-file": "seed"}
        options = [f"--{name}={self.folder / file}" for name, file in files.items()]
        return ["munged", "--force", f"--key-file={key}", *options]

    def _write_configuration(self) -> None:
        first, address = next(iter(self._addresses.items()))
        host = socket.gethostname() if self._hosts is None else first
        folder, ports = self.folder, _free_ports(1 + len(self._addresses))
        (folder / "state").mkdir()
        values = {
            "ClusterName": "test",
            "SlurmctldHost": f"{host}({address})",
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={folder}/munge",
            "CryptoType": "crypto/munge",
            "StateSaveLocation": f"{folder}/state",
            "SlurmdSpoolDir": f"{folder}/spool-%n",
            "SlurmctldPidFile": f"{folder}/slurmctld.pid",
            "SlurmdPidFile": f"{folder}/slurmd-%n.pid",
            "SlurmctldLogFile": f"{folder}/slurmctld.log",
            "SlurmdLogFile": f"{folder}/slurmd-%n.log",
            "SlurmctldPort": f"{ports[0]}",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_CPU",
            "MpiDefault": "none",
            # Jobs begin at once.
            "SchedulerParameters": "sched_interval=1,batch_sched_delay=0,bf_interval=1",
            "ReturnToService": "2",
            "KillWait": f"{KILL_WAIT}",
            "TmpFS": f"{folder}/tmp-%n",
            **self._settings,
        }
        lines = [f"{key}={value}" for key, value in values.items()]
        for (name, where), port in zip(self._addresses.items(), ports[1:], strict=True):
            (folder / f"tmp-{name}").mkdir()
            (folder / f"spool-{name}").mkdir()
            of_host = f"NodeHostname={host if self._hosts is None else name}"
            lines.append(
                f"NodeName={name} {of_host} NodeAddr={where} Port={port} CPUs={self._cpus}"
            )
        names = ",".join(self._addresses)
        lines.append(f"PartitionName=p Nodes={names} Default=YES State=UP OverSubscribe=FORCE:8")
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")

    def _wait_for_nodes(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            states = self._run(["sinfo", "--noheader", "--Node", "--format=%T"], check=False).stdout
            if states.split() == ["idle"] * len(self._addresses):
                return
            assert time.monotonic() < deadline, f"{states}\n{self._log()}"
            time.sleep(0.2)

    def _log(self) -> str:
        logs = sorted(self.folder.glob("slurm*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in logs)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
