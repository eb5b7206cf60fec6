"""The `logging` section: what is written about a run."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Logging:
    """What is written about a run besides its results."""

    tensorboard: bool = True
    """Whether to write TensorBoard summaries to the run directory.

    Loss and metrics, learning rate, throughput and waiting times, use of the hosts, some images of
    the first batch, some held-out images with their predictions, and the confusion matrix.
    """

    report: bool = True
    """Whether to write `report.html` to the run directory: a self-contained page of about 5 MB."""

    nodes: bool = True
    """Whether to sample the hosts: cores, memory, network, disks and GPUs.

    Written to `nodes.jsonl` and TensorBoard, and shown by `hvd-imgcls watch` together with the
    ranks. About every three seconds, the ranks exchange a few hundred numbers.
    """

    prometheus_file: str | None = None
    """File that the textfile collector of Prometheus's node exporter reads, or null.

    Replaced on the root about every three seconds; the name ends in `.prom`. Requires `nodes`.
    """

    def __post_init__(self) -> None:
        if self.prometheus_file is None:
            return
        if not self.prometheus_file.endswith(".prom") or "\0" in self.prometheus_file:
            raise ValueError("prometheus_file with a name that ends in .prom")
        if not self.nodes:
            raise ValueError("nodes true with prometheus_file")
