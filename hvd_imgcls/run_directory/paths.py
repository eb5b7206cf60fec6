"""The names of the files in a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunDir:
    """Names of the files of a run.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The whole configuration, defaults included, as a pipeline file."""
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        """What followed from configuration, data and ranks."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def classes(self) -> Path:
        """Names of the classes: a label is a position in the list."""
        return self.path / "classes.json"

    @property
    def launches(self) -> Path:
        """One JSON object per launch: command, ranks, machines, versions."""
        return self.path / "launches.jsonl"

    @property
    def first_batch(self) -> Path:
        """Images of the first batch, as the network gets them."""
        return self.path / "first_batch.png"

    @property
    def pictures(self) -> Path:
        """Held-out images that are worth looking at, small."""
        return self.path / "pictures.json"

    @property
    def tensorboard(self) -> Path:
        """A directory of curves and pictures for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def summary(self) -> Path:
        """What came of the run, and what it took."""
        return self.path / "summary.json"

    @property
    def pretraining(self) -> Path:
        """One JSON object per epoch of the training without labels; there if there was one."""
        return self.path / "pretraining.jsonl"

    @property
    def reconstructions(self) -> Path:
        """Held-out images beside what the autoencoder makes of them."""
        return self.path / "reconstructions.png"

    @property
    def quarantine(self) -> Path:
        """One JSON object per image that was left out; there if any was."""
        return self.path / "quarantine.jsonl"

    @property
    def evaluation(self) -> Path:
        """Exact metrics of the held-out split."""
        return self.path / "evaluation.json"

    @property
    def model(self) -> Path:
        """The trained model as a plain Keras file."""
        return self.path / "model.keras"

    @property
    def model_without_ema(self) -> Path:
        """The model of the weights themselves; there if `train.ema` made `model` the average."""
        return self.path / "model_without_ema.keras"

    @property
    def evaluation_without_ema(self) -> Path:
        """Its metrics."""
        return self.path / "evaluation_without_ema.json"

    @property
    def best_model(self) -> Path:
        """The best model so far; there if the callback `model_checkpoint` keeps one."""
        return self.path / "checkpoints" / "best.keras"

    @property
    def best_metrics(self) -> Path:
        """Its epoch and metrics."""
        return self.path / "checkpoints" / "best.json"

    @property
    def report(self) -> Path:
        """A page about the run."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """What the root said."""
        return self.path / "log.txt"

    def holds_run(self) -> bool:
        """Returns whether a run was begun or finished here."""
        return any(path.exists() for path in (self.config, self.model, self.metrics))


@dataclass(frozen=True, slots=True)
class EvaluationFiles:
    """The files of one evaluation in a directory.

    Attributes:
        directory: Where they are; it need not be there yet.
        suffix: What their names end in, before the ending of a file.
    """

    directory: Path
    suffix: str = ""

    @property
    def figures(self) -> Path:
        """All figures."""
        return self.directory / f"evaluation{self.suffix}.json"

    @property
    def curves(self) -> Path:
        """ROC and precision-recall curves."""
        return self.directory / f"curves{self.suffix}.json"

    @property
    def predictions(self) -> Path:
        """A row for every held-out image."""
        return self.directory / f"predictions{self.suffix}.parquet"
