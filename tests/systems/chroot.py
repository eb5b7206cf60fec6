"""Bare Debian systems in directories: made by mmdebstrap, entered with chroot. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("ca-certificates", "python3", "python3-venv", "g++", "make", "git")
HOME = "/home/user"
_USER_ID = 1000

# This machine's way to the package registries, where it has one of its own.
_HOST_FILES = (
    "etc/resolv.conf",
    "etc/hosts",
    "etc/pip.conf",
    "etc/ssl/certs/ca-certificates.crt",
)
_HOST_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "SSL_CERT_FILE")
_APT_SETTINGS = ("Acquire::Check-Valid-Until", "Acquire::http::Proxy", "Acquire::https::Proxy")


class CommandFailedError(Exception):
    """A command in a system ended with an exit code that was not expected."""


@dataclass(frozen=True, kw_only=True)
class System:
    """A Debian system.

    Attributes:
        suite: Debian's name of the release, e.g. `trixie`.
        root: Directory that holds it.
        log_path: File that the output of its commands is appended to.
    """

    suite: str
    root: Path
    log_path: Path

    def make(self) -> None:
        """Makes the system with nothing but `PACKAGES`, and an empty home directory."""
        if self.root.exists():
            shutil.rmtree(self.root)
        command = ["mmdebstrap", "--variant=apt", f"--include={','.join(PACKAGES)}"]
        command += [f"--aptopt={line}" for line in _apt_settings()]
        self._run([*command, self.suite, str(self.root)], expected=0)
        for name in _HOST_FILES:
            if Path("/", name).exists():
                shutil.copy(Path("/", name), self.root / name)
        home = self.root / HOME.lstrip("/")
        home.mkdir(parents=True)
        os.chown(home, _USER_ID, _USER_ID)
        with (self.root / "etc/passwd").open("a") as file:
            file.write(f"user:x:{_USER_ID}:{_USER_ID}::{HOME}:/bin/sh\n")

    def as_root(self, command: str) -> str:
        """Runs a shell command with all rights and returns what it prints."""
        return self._enter(command, user=None, environment={}, expected=0)

    def as_user(
        self, command: str, *, expected: int = 0, environment: dict[str, str] | None = None
    ) -> str:
        """Runs a shell command in the project's directory, without rights.

        Returns:
            What it prints.

        Raises:
            CommandFailedError: If it does not end with the expected exit code.
        """
        command = f"cd {HOME}/project 2>/dev/null || cd {HOME}; {command}"
        return self._enter(command, user=_USER_ID, environment=environment or {}, expected=expected)

    def install(self, packages: list[str]) -> None:
        """Installs Debian packages."""
        self.as_root(
            "apt-get update -qq && apt-get install -y -qq --no-install-recommends "
            + " ".join(packages)
        )

    def offers(self, package: str) -> bool:
        """Returns whether the release has a package."""
        return bool(self.as_root(f"apt-cache search --names-only '^{package.replace('+', '.')}$'"))

    def give_to_user(self, directory: Path) -> None:
        """Makes the user the owner of a directory below `root` and all that is in it."""
        self.as_root(f"chown -R {_USER_ID}:{_USER_ID} /{directory.relative_to(self.root)}")

    def _enter(
        self, command: str, *, user: int | None, environment: dict[str, str], expected: int
    ) -> str:
        variables = {name: os.environ[name] for name in _HOST_VARIABLES if name in os.environ}
        variables |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        if user is None:
            variables |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
            variables |= {"DEBIAN_FRONTEND": "noninteractive"}
        else:
            variables |= {"HOME": HOME}
        userspec = [] if user is None else [f"--userspec={user}:{user}"]
        # Mounts and processes of its own: both are gone when the command or `unshare` ends. So the
        # shell stays: it is process 1 there, and chroot's change of user would lose the signal.
        script = (
            'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && env -i "$@"; exit $?'
        )
        settings = [f"{name}={value}" for name, value in (variables | environment).items()]
        chroot = ["/usr/sbin/chroot", *userspec, str(self.root), "/bin/sh", "-c", command]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return self._run(
            [*unshare, "sh", "-c", script, str(self.root), *settings, *chroot], expected=expected
        )

    def _run(self, command: list[str], *, expected: int) -> str:
        start = time.monotonic()
        with self.log_path.open("a") as log:
            log.write(f"\n$ {command[-1]}\n")
            log.flush()
            begin = log.tell()
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
            end = log.seek(0, os.SEEK_END)
            log.write(f"[exit code {done.returncode} after {time.monotonic() - start:.0f} s]\n")
        with self.log_path.open("rb") as written:
            written.seek(begin)
            output = written.read(end - begin).decode(errors="replace")
        if done.returncode != expected:
            raise CommandFailedError(
                f"{self.suite}: exit code {done.returncode} instead of {expected} from: "
                f"{command[-1]}\n{output[-3000:]}"
            )
        return output


def _apt_settings() -> list[str]:
    command = ["apt-config", "dump", "--no-empty"]
    dump = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line for line in dump.stdout.splitlines() if line.split(" ")[0] in _APT_SETTINGS]
