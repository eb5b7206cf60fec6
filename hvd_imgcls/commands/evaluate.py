"""`hvd-imgcls evaluate RUN_DIR` or `hvd-imgcls evaluate MODEL.keras --pipeline PIPELINE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvd_imgcls.commands.arguments.model_argument import add_trained, find_trained, has_other_images
from hvd_imgcls.commands.arguments.overrides import add_overrides
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.interruption import install_sigterm_grace
from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `evaluate`."""
    add_trained(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="directory for metrics, curves and predictions; default: RUN_DIR; for a model "
        "file, metrics are only printed",
    )
    parser.add_argument(
        "--class-map",
        metavar="OLD=NEW",
        action="append",
        default=[],
        help="the model's class OLD is called NEW in these images; can be repeated",
    )
    parser.add_argument(
        "--split",
        choices=("held_out", "all"),
        help="evaluate the held-out images, or all; default: held_out for the images of the run, "
        "and for other images that come with a held-out split, else all",
    )
    add_overrides(parser)


def run(arguments: argparse.Namespace) -> None:
    """Evaluates the model. Collective: every rank must call this."""
    trained = find_trained(arguments)
    is_run = trained.run_path == arguments.target
    out_path: Path | None = arguments.out or (trained.run_path if is_run else None)
    suffix = "_without_ema" if is_run and arguments.ema is False else ""
    # The report describes the run's own model.
    is_about_run = is_run and out_path == trained.run_path and not suffix
    updated = RunDir(out_path) if out_path is not None and is_about_run else None

    install_sigterm_grace()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.evaluate import evaluate_file
    from hvd_imgcls.workflows.evaluating.choice import Choice

    evaluate_file(
        trained.config,
        trained.model_path,
        choice=Choice(
            class_names=trained.class_names,
            class_map=tuple(arguments.class_map),
            split=arguments.split,
            has_other_images=has_other_images(trained, arguments.overrides),
        ),
        pictures_path=None if updated is None else updated.pictures,
        is_trusted=arguments.trust_model,
        files=None if out_path is None else EvaluationFiles(out_path, suffix),
        verbosity=arguments.verbosity,
    )
    rank, _ = launched_rank_and_size()
    if updated is not None and rank == 0 and trained.config.logging.report:
        from hvd_imgcls.workflows.report import write_report

        write_report(updated.path, updated.report)
