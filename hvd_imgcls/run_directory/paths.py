"""File names in a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunDir:
    """File names of a run.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The whole configuration, including defaults, as a pipeline file."""
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        """The plan, derived from configuration, data and ranks."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def nodes(self) -> Path:
        """One JSON object per host and window: the use of cores, memory, network and disks."""
        return self.path / "nodes.jsonl"

    @property
    def progress(self) -> Path:
        """What the run does now: position, throughput, ranks, hosts."""
        return self.path / "progress.json"

    @property
    def classes(self) -> Path:
        """Class names: a label is an index into the list."""
        return self.path / "classes.json"

    @property
    def launches(self) -> Path:
        """One JSON object per launch: command, ranks, machines, versions."""
        return self.path / "launches.jsonl"

    @property
    def status(self) -> Path:
        """Whether the run goes on, or how it ended."""
        return self.path / "status.json"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints, from which the run can be continued."""
        return self.path / "checkpoints"

    @property
    def failures(self) -> Path:
        """The errors with which ranks ended, one file per rank; present if there were any."""
        return self.path / "failures"

    @property
    def hang(self) -> Path:
        """What the threads of each rank did when one made no progress; present if one did not."""
        return self.path / "hang"

    @property
    def first_batch(self) -> Path:
        """Contact sheet of the first batch, as the network receives it."""
        return self.path / "first_batch.png"

    @property
    def pictures(self) -> Path:
        """Thumbnails of notable held-out images."""
        return self.path / "pictures.json"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard log directory."""
        return self.path / "tensorboard"

    @property
    def summary(self) -> Path:
        """Results and costs of the run."""
        return self.path / "summary.json"

    @property
    def pretraining(self) -> Path:
        """One JSON object per pre-training epoch; present if there was pre-training."""
        return self.path / "pretraining.jsonl"

    @property
    def reconstructions(self) -> Path:
        """Held-out images next to their reconstructions by the autoencoder."""
        return self.path / "reconstructions.png"

    @property
    def quarantine(self) -> Path:
        """One JSON object per image that was left out; present if there were any."""
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
        """The model with the raw weights; present if `train.ema` averaged those of `model`."""
        return self.path / "model_without_ema.keras"

    @property
    def evaluation_without_ema(self) -> Path:
        """Its metrics."""
        return self.path / "evaluation_without_ema.json"

    @property
    def best_model(self) -> Path:
        """The best model so far; present with the callback `model_checkpoint`."""
        return self.path / "checkpoints" / "best.keras"

    @property
    def best_metrics(self) -> Path:
        """Its epoch and metrics."""
        return self.path / "checkpoints" / "best.json"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """The log of the root."""
        return self.path / "log.txt"

    def holds_run(self) -> bool:
        """Returns whether the directory holds a run, finished or not."""
        return any(path.exists() for path in (self.config, self.model, self.metrics))


@dataclass(frozen=True, slots=True)
class EvaluationFiles:
    """The files of one evaluation in a directory.

    Attributes:
        directory: Their directory; it need not exist yet.
        suffix: Suffix of the file names, before the extension.
    """

    directory: Path
    suffix: str = ""

    @property
    def metrics(self) -> Path:
        """All metrics."""
        return self.directory / f"evaluation{self.suffix}.json"

    @property
    def curves(self) -> Path:
        """ROC and precision-recall curves."""
        return self.directory / f"curves{self.suffix}.json"

    @property
    def predictions(self) -> Path:
        """One row per held-out image."""
        return self.directory / f"predictions{self.suffix}.parquet"
