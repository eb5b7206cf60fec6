"""Command line of `hvd-imgcls doctor`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from hvd_imgcls.doctor import gpu_checks, horovod_checks, machine, versions
from hvd_imgcls.doctor.check import Check, Status, fail
from hvd_imgcls.environment.affinity import launched_local_rank
from hvd_imgcls.launcher.hosts import parse_hostfile, parse_hosts
from hvd_imgcls.launcher.ssh import Ssh


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command to a parser."""
    parser.description = (
        "Checks whether this machine is ready to train, and shows what to do if it is not. "
        "The exit code is 0 if it is ready (there may be warnings), else 2."
    )
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="check GPUs only: driver, TensorFlow, Horovod, then NCCL and training steps on "
        "every GPU (about a minute); exit code 2 if no GPU is seen or a check fails",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-H",
        "--hosts",
        metavar="HOSTS",
        help="check these hosts instead, over ssh, and the network between them; as for "
        "horovodrun: host1:4,host2:4",
    )
    where.add_argument("--hostfile", metavar="FILE", help="the same, for the hosts of a file")
    parser.add_argument("--ssh-port", metavar="PORT", type=int, help="port of ssh on the hosts")
    parser.add_argument("--ssh-identity-file", metavar="FILE", help="private key for ssh")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--self-test-timeout",
        metavar="SECONDS",
        type=float,
        default=180.0,
        help="time limit of each test on several ranks (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the report.

    Returns:
        The exit code: 0 when nothing failed, else 2.
    """
    if launched_local_rank() > 0:
        return 0  # the first rank of this host reports
    checks = []
    for check in _chosen_checks(args):
        if isinstance(check, str):
            if not args.json:
                _write(check)
            continue
        checks.append(check)
        if not args.json:
            # At once, since the last checks take long: they start TensorFlow on two ranks.
            _write(check.describe())
    num_failed = sum(check.status is Status.FAIL for check in checks)
    num_warnings = sum(check.status is Status.WARNING for check in checks)
    if args.json:
        _write(json.dumps(_as_json(checks, is_ready=num_failed == 0), indent=2))
    elif num_failed:
        _write(f"\nnot ready: {num_failed} failed, {num_warnings} warnings")
    else:
        _write(f"\nready, {num_warnings} warnings")
    return 2 if num_failed else 0


def _chosen_checks(args: argparse.Namespace) -> Iterator[Check | str]:
    if args.hosts is not None or args.hostfile is not None:
        from hvd_imgcls.doctor.hosts.survey import survey

        hosts = (
            parse_hostfile(Path(args.hostfile))
            if args.hosts is None
            else parse_hosts(args.hosts, default_slots=1)
        )
        yield from survey(hosts, Ssh(args.ssh_port, args.ssh_identity_file))
        return
    yield from (gpu_only_checks if args.gpu else all_checks)(args.self_test_timeout)


def all_checks(self_test_timeout: float) -> Iterator[Check]:
    """Yields all checks, fast ones first, without those that an earlier failure rules out."""
    python_check, target = versions.check_python()
    yield python_check
    yield from versions.check_distributions()
    yield versions.check_keras_backend()
    yield machine.check_cores()
    yield machine.check_interfaces()
    yield from machine.check_disk()
    yield machine.check_shared_memory()
    if target is None:
        yield fail("Horovod", "not checked, since Python is not supported", python_check.fix)
        return
    tensorflow_check, target_with_tensorflow = versions.check_tensorflow_starts()
    yield tensorflow_check
    version_check = horovod_checks.check_horovod_version(target)
    yield version_check
    record = target.horovod_build_record
    if target_with_tensorflow is None or record is None or version_check.status is Status.FAIL:
        return
    built_for = horovod_checks.check_built_for(target_with_tensorflow)
    yield built_for
    yield from horovod_checks.check_controllers(record)
    yield gpu_checks.check_use(record, gpu_checks.gpu_facts(always_ask_tensorflow=False))
    if built_for.status is not Status.FAIL:
        yield from horovod_checks.check_allreduce(record, self_test_timeout)


def gpu_only_checks(timeout_seconds: float) -> Iterator[Check]:
    """Yields the checks of GPUs; those that use several ranks only if all others pass."""
    facts = gpu_checks.gpu_facts(always_ask_tensorflow=True)
    python_check, target = versions.check_python()
    record = None if target is None else target.horovod_build_record
    checks = [
        python_check,
        gpu_checks.check_driver(facts),
        gpu_checks.check_tensorflow(facts),
        gpu_checks.check_nccl(record),
    ]
    yield from checks
    if not any(check.status is Status.FAIL for check in checks):
        num_gpus = len(facts["driver"]["names"])
        yield from gpu_checks.check_training("GPU", num_gpus, timeout_seconds)


def _as_json(checks: list[Check], *, is_ready: bool) -> dict[str, object]:
    entries = [
        {
            "name": check.name,
            "status": check.status.value.lower(),
            "detail": check.detail,
            "fix": check.fix,
        }
        for check in checks
    ]
    return {"is_ready": is_ready, "checks": entries}


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
