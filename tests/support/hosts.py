"""Several hosts on one machine: namespaces with a network, host name and sshd of their own.

They share files, memory and cores. `Hosts(3)` are h1, h2, h3 with the addresses 10.77.0.1 to 3. A
host that crashes is a killed process 1; `link` pulls and plugs its cable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from tests.support.program import Launched, processes_of

TOOLS = ("ip", "unshare", "nsenter", "ssh", "ssh-keygen", "mount")
SSHD = "/usr/sbin/sshd"
START_SECONDS = 10
SPACES = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc")


def _fails(words: Sequence[str]) -> bool:
    return bool(subprocess.run(words, capture_output=True, check=False).returncode)


def missing() -> str:
    """Returns why this machine cannot have such hosts, '' if it can."""
    if os.geteuid() != 0:
        return "not root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    absent += [] if Path(SSHD).exists() else [SSHD]
    if absent:
        return f"without {', '.join(absent)}"
    name = f"probe{os.getpid()}"
    tries = [
        ["ip", "netns", "add", name],
        ["ip", "-n", name, "link", "add", "br0", "type", "bridge"],
        ["ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1"],
        ["nsenter", f"--net=/run/netns/{name}", *SPACES, "mount", "-t", "tmpfs", "none", "/mnt"],
    ]
    failed = next((words for words in tries if _fails(words)), None)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "" if failed is None else f"not allowed here: {' '.join(failed)}"


_MISSING = missing()
needs_hosts = pytest.mark.skipif(bool(_MISSING), reason=f"hosts in namespaces: {_MISSING}")


class Hosts:
    """Hosts in one network.

    Args:
        number: How many.
        own_name: What each host's own name resolves to on itself; Debian's is "127.0.1.1".
    """

    def __init__(self, number: int, own_name: str = "127.0.1.1") -> None:
        self.number = number
        self._own_name = own_name
        self._prefix = f"t{uuid.uuid4().hex[:5]}"
        self._switch = f"{self._prefix}-sw"
        self._directory = tempfile.TemporaryDirectory(prefix="hosts-")
        self.folder = Path(self._directory.name)
        self._inits: dict[int, subprocess.Popen[bytes]] = {}
        self.tag = uuid.uuid4().hex

    def __enter__(self) -> Hosts:
        try:
            self._write_keys()
            _ip("netns", "add", self._switch)
            _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "br0", "up")
            for index in range(1, self.number + 1):
                self.start(index)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in processes_of(self.tag):
            with contextlib.suppress(psutil.Error):
                process.kill()
        for index in list(self._inits):
            self.crash(index)
        for name in [f"{self._prefix}-{i}" for i in range(1, self.number + 1)] + [self._switch]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        self._directory.cleanup()

    def start(self, index: int) -> None:
        """Starts a host, also one that has crashed: a reboot."""
        space, device = f"{self._prefix}-{index}", f"{self._prefix}v{index}"
        subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
        link_deleted = ["ip", "-n", self._switch, "link", "del", device]
        subprocess.run(link_deleted, capture_output=True, check=False)
        _ip("netns", "add", space)
        # With another address after a reboot, the others would send to the old one for a while.
        pair = ["type", "veth", "peer", "name", "eth0", "address", f"02:77:00:00:00:{index:02x}"]
        _ip("link", "add", device, "netns", self._switch, *pair, "netns", space)
        _ip("-n", self._switch, "link", "set", device, "master", "br0", "up")
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "addr", "add", f"10.77.0.{index}/24", "dev", "eth0")
        _ip("-n", space, "link", "set", "eth0", "up")
        log = (self.folder / f"sshd-{index}.log").open("ab")
        self._inits[index] = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{space}", *SPACES, "sh", self._init_script(index)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while "22" not in self.run(index, ["ss", "-Hltn", "sport = :22"], check=False).stdout:
            assert time.monotonic() < deadline, (self.folder / f"sshd-{index}.log").read_text()
            time.sleep(0.05)

    def crash(self, index: int) -> None:
        """Kills everything on a host at once; its kernel closes all connections."""
        with contextlib.suppress(psutil.Error):
            self._process_1(index).kill()
        self._inits.pop(index).wait()

    def link(self, index: int, state: str) -> None:
        """Pulls (`down`) or plugs (`up`) the cable of a host."""
        _ip("-n", self._switch, "link", "set", f"{self._prefix}v{index}", state)

    @contextlib.contextmanager
    def other_key(self, index: int) -> Iterator[None]:
        """The hosts know another key for a host than its own."""
        known = self.folder / "known_hosts"
        kept = known.read_text()
        lines = kept.splitlines()
        of_another = lines[index % self.number].split()[1:]
        lines[index - 1] = " ".join([lines[index - 1].split()[0], *of_another])
        known.write_text("\n".join(lines) + "\n")
        try:
            yield
        finally:
            known.write_text(kept)

    def words_on(self, index: int, words: Sequence[str]) -> list[str]:
        """Returns the command that runs words on a host, in the current directory."""
        target = str(self._process_1(index).pid)
        spaces = ["nsenter", "-t", target, "-m", "-u", "-i", "-n", "-p", "--"]
        return [*spaces, "env", "-C", os.getcwd(), *words]

    def run(
        self, index: int, words: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on a host and returns how it ended."""
        for _ in range(100):
            with contextlib.suppress(psutil.Error, IndexError):
                return subprocess.run(
                    self.words_on(index, words),
                    capture_output=True,
                    text=True,
                    check=check,
                    timeout=timeout,
                )
            time.sleep(0.05)
        raise AssertionError(f"h{index} has not started")

    @contextlib.contextmanager
    def program(
        self, index: int, words: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> Iterator[HostProgram]:
        """Runs a command on a host; ends it and what it started everywhere afterwards."""
        program = HostProgram(self, index, words, cwd, environment)
        try:
            yield program
        finally:
            program.end()

    def _process_1(self, index: int) -> psutil.Process:
        # `nsenter` becomes `unshare`, whose child is process 1 of the host.
        return psutil.Process(self._inits[index].pid).children()[0]

    def _write_keys(self) -> None:
        ssh = self.folder / "ssh"
        (ssh / "ssh_config.d").mkdir(parents=True)
        known, hosts = [], ["127.0.0.1 localhost"]
        for name in ["id", *(f"host-{index}" for index in range(1, self.number + 1))]:
            path = str(self.folder / name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        shutil.copy(self.folder / "id.pub", self.folder / "authorized_keys")
        for index in range(1, self.number + 1):
            key = " ".join((self.folder / f"host-{index}.pub").read_text().split()[:2])
            known.append(f"10.77.0.{index},h{index} {key}")
            hosts.append(f"10.77.0.{index} h{index}")
        hosts.append("10.77.0.99 absent")
        (self.folder / "known_hosts").write_text("\n".join(known) + "\n")
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n")
        (ssh / "ssh_config").write_text(
            f"Host *\n  IdentityFile {self.folder}/id\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n"
            "  StrictHostKeyChecking yes\n  LogLevel ERROR\n"
        )

    def _init_script(self, index: int) -> str:
        config = self.folder / f"sshd-{index}.conf"
        config.write_text(
            f"Port 22\nListenAddress 10.77.0.{index}\nHostKey {self.folder}/host-{index}\n"
            f"PidFile {self.folder}/sshd-{index}.pid\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
        )
        hosts = self.folder / f"hosts-{index}"
        own = "" if self._own_name == "" else f"{self._own_name} h{index}\n"
        hosts.write_text(own + (self.folder / "hosts").read_text())
        script = self.folder / f"init-{index}.sh"
        script.write_text(
            f"hostname h{index}\nmount --bind {hosts} /etc/hosts\n"
            f"mount --bind {self.folder}/ssh /etc/ssh\nmkdir -p /run/sshd\n"
            f"exec {SSHD} -D -e -f {config}\n"
        )
        return str(script)


class HostProgram(Launched):
    """A command on a host, and everything it started there and elsewhere."""

    def __init__(
        self,
        hosts: Hosts,
        index: int,
        words: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
    ) -> None:
        target = str(hosts._process_1(index).pid)
        spaces = ["nsenter", "-t", target, "-m", "-u", "-i", "-n", "-p", "--"]
        command = [*spaces, "env", "-C", str(cwd), *words]
        super().__init__(command, cwd, {"PWD": str(cwd), **environment}, tag=hosts.tag)

    def launcher(self) -> psutil.Process:
        """Returns the process of the command itself, below `nsenter`."""
        children = psutil.Process(self.process.pid).children()
        return children[0] if children else psutil.Process(self.process.pid)

    def left(self, seconds: float) -> list[psutil.Process]:
        """Returns what still runs on any host after some seconds, at best nothing."""
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.processes()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def horovodrun(*words: str) -> list[str]:
    """Returns the command line of the installed `horovodrun`."""
    return [str(Path(sys.executable).parent / "horovodrun"), *words]
