"""The trained model given to a command: a run, a model in its directory, or a model file."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.commands.text_files import read_lines
from hvd_imgcls.config import RunConfig, load_config
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained model.

    Attributes:
        config: The configuration that it was trained with.
        model_path: A `.keras` file.
        run_path: The run directory that it belongs to; None for a standalone model file.
        class_names: `[num_classes]`; empty if unknown.
    """

    config: RunConfig
    model_path: Path
    run_path: Path | None
    class_names: tuple[str, ...]

    def require_class_names(self) -> tuple[str, ...]:
        """Returns the class names.

        Raises:
            ConfigError: If they are unknown.
        """
        if not self.class_names:
            raise ConfigError(
                "--classes",
                got="nothing",
                expected="a text file with one class name per line",
                fix=f"add --classes FILE: {self.model_path} belongs to no run with class names",
            )
        return self.class_names


def add_trained(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that select the model."""
    parser.add_argument(
        "target",
        metavar="RUN_DIR|MODEL.keras",
        type=Path,
        help="run directory, model in a run directory, or model file",
    )
    parser.add_argument(
        "--pipeline",
        metavar="FILE",
        help="pipeline file that defines preprocessing; default: that of the run",
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="text file with one class name per line"
    )
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="load model files that contain code; only for files you trust",
    )
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        help="for a run with train.ema: use the averaged weights (default), or the raw weights",
    )


def find_trained(arguments: argparse.Namespace) -> Trained:
    """Returns the model selected on the command line.

    Raises:
        CheckpointError: If there is no such model.
        ConfigError: If the pipeline of the model is unknown.
    """
    target: Path = arguments.target
    is_file = target.suffix == ".keras" or (target / "saved_model.pb").is_file()
    run_path = _run_of(target) if is_file else target
    model_path = target if is_file else _model_of_run(RunDir(target), ema=arguments.ema)
    pipeline = arguments.pipeline or (run_path and RunDir(run_path).config)
    if pipeline is None:
        raise ConfigError(
            "--pipeline",
            got="nothing",
            expected="the pipeline file that the model was trained with",
            fix=f"add --pipeline pipelines/NAME.yaml after {target}",
        )
    if not model_path.exists():
        raise CheckpointError(
            f"{model_path}: no such file, expected a Keras model; "
            "pass the directory of a finished run, or a .keras file"
        )
    return Trained(
        config=load_config(pipeline, arguments.overrides, is_of_run=arguments.pipeline is None),
        model_path=model_path,
        run_path=run_path,
        class_names=_class_names(arguments.classes, run_path),
    )


def _run_of(model_path: Path) -> Path | None:
    """Returns the run directory that contains a model file, directly or in `checkpoints`."""
    for folder in (model_path.parent, model_path.parent.parent):
        if RunDir(folder).config.is_file():
            return folder
    return None


def _model_of_run(files: RunDir, *, ema: bool | None) -> Path:
    if ema is None:
        return files.model
    if not files.model_without_ema.is_file():
        raise CheckpointError(
            f"{files.path}: a run without averaged weights (train.ema); omit --ema and --no-ema"
        )
    return files.model if ema else files.model_without_ema


def _class_names(path: Path | None, run_path: Path | None) -> tuple[str, ...]:
    if path is not None:
        return tuple(line for line in read_lines("--classes", path, "the name of a class") if line)
    if run_path is None:
        return ()
    files = RunDir(run_path)
    if files.classes.is_file():
        return tuple(json.loads(files.classes.read_text(encoding="utf-8")))
    metrics = EvaluationFiles(run_path).metrics
    if metrics.is_file():
        return tuple(json.loads(metrics.read_text(encoding="utf-8"))["class_names"])
    return ()
