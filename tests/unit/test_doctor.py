"""The doctor's checks on real files and this real machine; the self-test has its own tests."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hvd_imgcls.doctor import add_arguments, command, horovod_checks, machine, versions
from hvd_imgcls.doctor.check import Check, Status, fail, ok, warning
from hvd_imgcls.horovod_build.sdist import VERSION
from hvd_imgcls.horovod_build.target import Target


def target_with(
    *, horovod: str | None = VERSION, tensorflow: str = "2.21.0", built_for: str = "2.21.0"
) -> Target:
    return Target(
        python=sys.executable,
        version=(3, 11, 7),
        abi="cpython-311-x86_64-linux-gnu",
        platform="linux-x86_64",
        libc="glibc 2.36",
        distributions={"tensorflow": tensorflow, "horovod": horovod},
        horovod_build_record={
            "with_gloo": True,
            "with_mpi": False,
            "with_nccl": False,
            "ingredients": {
                "tensorflow": built_for,
                "tensorflow_flags": "--std=c++17",
                "python": "cpython-311-x86_64-linux-gnu",
                "platform": "linux-x86_64",
                "compiler": "c++ 12.2.0",
                "architecture_flags": "",
            },
        },
        tensorflow_flags=("--std=c++17",),
    )


def test_under_a_launcher_only_the_first_rank_of_a_host_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "all_checks", lambda _: [ok("Python", "3.11")])
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    monkeypatch.setenv("HOROVOD_LOCAL_SIZE", "2")
    for local_rank, expected in ((0, 1), (1, 0)):
        monkeypatch.setenv("HOROVOD_LOCAL_RANK", str(local_rank))
        assert command.run(parser.parse_args([])) == 0
        assert capsys.readouterr().out.count("ready, 0 warnings") == expected


def test_our_build_for_this_tensorflow_is_fine() -> None:
    target = target_with()
    assert horovod_checks.check_horovod_version(target).status is Status.OK
    assert horovod_checks.check_built_for(target).status is Status.OK


@pytest.mark.parametrize("version", [None, "0.28.1"])
def test_no_horovod_or_not_ours_fails_with_the_command(version: str | None) -> None:
    check = horovod_checks.check_horovod_version(target_with(horovod=version))
    assert check.status is Status.FAIL
    assert check.fix == "hvd-imgcls install-horovod"


def test_a_build_for_another_tensorflow_fails() -> None:
    check = horovod_checks.check_built_for(target_with(built_for="2.20.0"))
    assert check.status is Status.FAIL
    assert "was built for tensorflow 2.20.0, but here it is 2.21.0" in check.detail


def test_a_build_for_a_richer_cpu_fails() -> None:
    target = target_with()
    assert target.horovod_build_record is not None
    target.horovod_build_record["ingredients"]["architecture_flags"] = "-mavx9000"
    check = horovod_checks.check_built_for(target)
    assert check.status is Status.FAIL
    assert "-mavx9000" in check.detail


def test_mpi_without_its_launcher_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    record = {"with_gloo": True, "with_mpi": True, "with_nccl": False}
    parts, mpirun = horovod_checks.check_controllers(record)
    assert parts.detail == "Gloo yes, MPI yes, NCCL no"
    assert mpirun.status is Status.WARNING


def test_versions_out_of_range_and_missing_ones_fail() -> None:
    checks = versions.check_distributions(
        ["numpy>=1", "keras<2", "surely-not-installed>=1", "pytest; extra == 'dev'", "psutil>=1"]
    )
    by_name = {check.name: check for check in checks}
    assert by_name["numpy"].status is Status.OK
    assert by_name["keras"].status is Status.FAIL
    assert "pip install 'keras<2'" in by_name["keras"].fix
    assert by_name["surely-not-installed"].status is Status.FAIL
    assert "psutil" in by_name["other packages"].detail
    assert "pytest" not in by_name


def test_another_keras_backend_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keras.json"
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert versions.check_keras_backend(path).status is Status.OK
    path.write_text('{"backend": "jax"}')
    check = versions.check_keras_backend(path)
    assert check.status is Status.FAIL
    assert str(path) in check.fix
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert versions.check_keras_backend(path).status is Status.OK
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert versions.check_keras_backend(path).fix == "unset KERAS_BACKEND"


def test_the_machine_has_cores_interfaces_and_shared_memory() -> None:
    assert "threads per rank" in machine.check_cores().detail
    assert any(name == "lo" for name, _ in machine.ipv4_addresses())
    assert machine.check_interfaces().status is Status.OK
    assert machine.check_shared_memory(Path("/no/such")).status is Status.WARNING


def test_free_space_is_that_of_the_nearest_existing_directory(tmp_path: Path) -> None:
    check = machine.check_free_space("disk", tmp_path / "a" / "b")
    assert str(tmp_path) in check.detail
    assert check.status in (Status.OK, Status.WARNING)
    # A pseudo file system has no room at all.
    assert machine.check_free_space("disk", Path("/proc")).status is Status.FAIL


def run_command(monkeypatch: pytest.MonkeyPatch, checks: list[Check], arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    monkeypatch.setattr(command, "all_checks", lambda _: iter(checks))
    return command.run(parser.parse_args(arguments))


def test_warnings_are_ready_and_failures_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [ok("cores", "2"), warning("hostname", "odd", "mend it")]
    assert run_command(monkeypatch, good, []) == 0
    assert "ready, 1 warnings" in capsys.readouterr().out
    assert run_command(monkeypatch, [*good, fail("Horovod", "none", "install it")], []) == 2
    out = capsys.readouterr().out
    assert "FAIL     Horovod: none\n         to fix it: install it\n" in out
    assert "not ready: 1 failed, 1 warnings" in out


def test_json_holds_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, [fail("Horovod", "none", "install it")], ["--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["is_ready"] is False
    assert report["checks"] == [
        {"name": "Horovod", "status": "fail", "detail": "none", "fix": "install it"}
    ]


def test_the_doctor_imports_neither_tensorflow_nor_horovod() -> None:
    script = (
        "import sys, hvd_imgcls.doctor, hvd_imgcls.horovod_build.command\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'horovod')))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
