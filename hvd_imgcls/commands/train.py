"""`hvd-imgcls train PIPELINE [--key.path value ...]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvd_imgcls.commands.overrides import add_pipeline
from hvd_imgcls.config import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `train`."""
    add_pipeline(parser)


def run(arguments: argparse.Namespace) -> None:
    """Trains. Collective: every rank must call this."""
    # Before TensorFlow is imported, which takes seconds: a wrong file is said at once.
    config = load_config(arguments.pipeline, arguments.overrides)

    from hvd_imgcls.train import train

    train(config, pipeline_name=Path(arguments.pipeline).stem, verbose=arguments.verbose)
