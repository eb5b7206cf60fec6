"""`hvd-imgcls evaluate RUN_DIR` or `hvd-imgcls evaluate MODEL.keras --pipeline PIPELINE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvd_imgcls.commands.ending import end_with_the_cause
from hvd_imgcls.commands.overrides import add_overrides
from hvd_imgcls.commands.quiet import import_tensorflow_quietly
from hvd_imgcls.config import load_config
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.run_dir import RunDir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `evaluate`."""
    parser.add_argument("target", metavar="RUN_DIR|MODEL.keras", help="what to evaluate")
    parser.add_argument("--pipeline", help="pipeline file that says which data; for a model file")
    parser.add_argument(
        "--out", metavar="FILE", help="where to write the result; default: RUN_DIR/evaluation.json"
    )
    add_overrides(parser)


def run(arguments: argparse.Namespace) -> None:
    """Evaluates. Collective: every rank must call this."""
    target = Path(arguments.target)
    model_path, pipeline, out_path = target, arguments.pipeline, arguments.out
    if target.suffix != ".keras":
        run_dir = RunDir(target)
        model_path = run_dir.model
        pipeline = pipeline or run_dir.config
        out_path = out_path or run_dir.evaluation
    if pipeline is None:
        raise ConfigError(
            "--pipeline",
            got="nothing",
            expected="the pipeline file that says which data",
            fix=f"write --pipeline pipelines/NAME.yaml after {target}",
        )
    if not model_path.is_file():
        raise CheckpointError(
            f"{model_path}: no such file, expected a Keras model; "
            "give a run directory that holds a finished run, or a .keras file"
        )
    config = load_config(pipeline, arguments.overrides)

    end_with_the_cause()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.evaluate import evaluate_file

    evaluate_file(
        config,
        model_path,
        out_path=None if out_path is None else Path(out_path),
        verbosity=arguments.verbosity,
    )
