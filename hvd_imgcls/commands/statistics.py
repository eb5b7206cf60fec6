"""`hvd-imgcls statistics PIPELINE [--key.path value ...]`."""

from __future__ import annotations

import argparse

from hvd_imgcls.commands.arguments.overrides import add_pipeline
from hvd_imgcls.config import load_config
from hvd_imgcls.interruption import install_sigterm_grace
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `statistics`."""
    add_pipeline(parser)


def run(arguments: argparse.Namespace) -> None:
    """Computes the statistics. Collective: every rank must call this."""
    config = load_config(arguments.pipeline, arguments.overrides)
    install_sigterm_grace()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.statistics import compute_statistics

    compute_statistics(config, verbosity=arguments.verbosity)
