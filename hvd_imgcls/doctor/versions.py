"""Checks of Python, TensorFlow, Keras and the other distributions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from hvd_imgcls.doctor.check import Check, fail, ok
from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.target import Target, inspect_target

# The distributions whose versions must match have a line each, the others share one.
_MAIN_DISTRIBUTIONS = ("tensorflow", "keras", "numpy")


def check_python() -> tuple[Check, Target | None]:
    """Checks that this Python is a supported one.

    Returns:
        The check, and the facts about this Python: None if they are not known.
    """
    python = sys.executable
    try:
        target = inspect_target(python)
    except SetupError as error:
        return fail("Python", error.problem, error.fix), None
    return ok("Python", f"{target.version_text} ({python})"), target


def check_tensorflow_starts() -> tuple[Check, Target | None]:
    """Imports TensorFlow in a separate process and gets its compile flags."""
    name = "TensorFlow starts"
    try:
        target = inspect_target(sys.executable, with_tensorflow=True)
    except SetupError as error:
        return fail(name, error.problem, error.fix), None
    return ok(name, f"compile flags {' '.join(target.tensorflow_flags)}"), target


def check_distributions(requirements: Iterable[str] | None = None) -> list[Check]:
    """Checks that the installed distributions are within the ranges of setup.cfg.

    Args:
        requirements: The ranges, e.g. `keras>=3.15.1,<3.16`. If None, those in the metadata
            of the installed hvd_imgcls.
    """
    if requirements is None:
        try:
            requirements = metadata.requires("hvd_imgcls") or []
        except metadata.PackageNotFoundError:
            return [fail("hvd_imgcls", "is not installed in this Python", "pip install .")]
    checks: list[Check] = []
    others: list[str] = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        check = _check_distribution(requirement)
        if requirement.name in _MAIN_DISTRIBUTIONS or check.fix:
            checks.append(check)
        else:
            others.append(f"{requirement.name} {check.detail.split()[0]}")
    if others:
        checks.append(ok("other packages", ", ".join(others)))
    return checks


def check_keras_backend(config_path: Path | None = None) -> Check:
    """Checks that Keras uses TensorFlow, by its environment variable or else its file."""
    name = "Keras backend"
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = home / "keras.json" if config_path is None else config_path
    backend = os.environ.get("KERAS_BACKEND")
    if backend is not None:
        origin, fix = "KERAS_BACKEND", "unset KERAS_BACKEND"
    else:
        origin, fix = str(path), f'set "backend": "tensorflow" in {path}'
        try:
            backend = json.loads(path.read_text(encoding="utf-8")).get("backend", "tensorflow")
        except (OSError, ValueError, AttributeError):
            return ok(name, "tensorflow (Keras's default)")
    if backend != "tensorflow":
        return fail(name, f"{origin} sets {backend}; Horovod supports only tensorflow", fix)
    return ok(name, f"tensorflow ({origin})")


def _check_distribution(requirement: Requirement) -> Check:
    name, wanted = requirement.name, str(requirement.specifier)
    fix = f"{sys.executable} -m pip install '{name}{wanted}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return fail(name, f"is not installed, {wanted} is required", fix)
    if not requirement.specifier.contains(version, prereleases=True):
        return fail(name, f"{version} is installed, {wanted} is required", fix)
    return ok(name, f"{version} (required: {wanted})")
