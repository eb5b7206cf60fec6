"""Labels from a separate table, joined with the images by name."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from hvd_imgcls.config.data.placement import Hybrid, Vertical
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import EncodedSource
from hvd_imgcls.data.sources.class_list import pinned_class_names, resolve_labels
from hvd_imgcls.data.sources.tables import as_text, find_column, read_table, require_column
from hvd_imgcls.data.sources.wrapper import EncodedWrapper
from hvd_imgcls.errors import ConfigError, DataError

if TYPE_CHECKING:
    from hvd_imgcls.distributed import Collectives


class Relabelled(EncodedWrapper):
    """Images of another source with labels from a table.

    Args:
        source: The images.
        class_names: The class list of the table.
        label_of: Label by name.
        table: Name of the table for error messages.

    Raises:
        ConfigError: If an image has no row.
    """

    def __init__(
        self,
        source: EncodedSource,
        class_names: Sequence[str],
        label_of: dict[str, int],
        table: str,
    ) -> None:
        super().__init__(source)
        self._class_names = tuple(class_names)
        self._labels: dict[Split, Numbers] = {
            "train": self._join("train", label_of, table),
            "held_out": self._join("held_out", label_of, table),
        }
        digest = xxhash.xxh3_64("\0".join(class_names).encode())
        for name, label in sorted(label_of.items()):
            digest.update(f"{name}\0{label}\0".encode())
        self._digest = digest.hexdigest()

    @property
    def class_names(self) -> Sequence[str]:
        """The class list of the table."""
        return self._class_names

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the source combined with a hash of the table."""
        return f"{self._source.fingerprint}-{self._digest}"

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        return self._labels[split]

    def complete_labels(self, split: Split, labels: Numbers) -> None:
        """Sets the labels of all hosts' examples."""
        self._labels[split] = labels

    def _join(self, split: Split, label_of: dict[str, int], table: str) -> Numbers:
        names = [self._source.id_of(split, e) for e in range(self._source.num_examples(split))]
        # Names of images on other hosts are unknown here: those hosts join them.
        missing = [name for name in names if name and name not in label_of]
        if missing:
            raise ConfigError(
                "data.placement.table",
                got=table,
                expected=f"one row per image, but {len(missing):,} have none; the first is "
                f"{missing[0]}",
                fix="add them, or set the column of the image names in data.placement.id_column",
            )
        return np.array([label_of.get(name, -1) for name in names], dtype=np.int64)


def read_label_table(config: Vertical | Hybrid) -> tuple[tuple[str, ...], pa.Table]:
    """Returns the class list and a table of `name` and `label`.

    Raises:
        ConfigError: If the table cannot be read, lacks a column or names an image twice.
        DataError: If a label is invalid.
    """
    path = Path(config.table).expanduser()
    table = read_table(path, "data.placement.table")
    for key, name in (("id_column", config.id_column), ("label_column", config.label_column)):
        require_column(table, name, f"data.placement.{key}", path)
    class_names, labels = resolve_labels(
        table[config.label_column],
        find_column(table, config.class_name_column, path),
        pinned_class_names(config.class_names, "data.placement.class_names", table.schema.metadata),
        f"{path}, column {config.label_column}",
    )
    names = pa.array(as_text(table[config.id_column], f"{path}, column {config.id_column}"))
    if names.null_count:
        row = pc.indices_nonzero(pc.is_null(names))[0].as_py()
        raise DataError(
            f"{path}, row {row + 1}: no image name; add one to column {config.id_column} or "
            "remove the row"
        )
    if len(names.unique()) != len(names):
        counts = {row["values"]: row["counts"] for row in names.value_counts().to_pylist()}
        raise ConfigError(
            "data.placement.table",
            got=str(path),
            expected="one row per image",
            fix=f"{next(n for n, c in counts.items() if c > 1)} has several rows: keep one",
        )
    return class_names, pa.table({"name": names, "label": labels})


def with_labels_of_table(
    source: EncodedSource, config: Vertical | Hybrid, collectives: Collectives
) -> Relabelled:
    """Returns the images with the labels of a table, which only the root reads.

    Collective: every rank must call this.

    Args:
        source: The images.
        config: Names the table.
        collectives: Communication between the ranks.
    """
    from hvd_imgcls.distributed import agreement

    buffer = io.BytesIO()

    def read() -> list[str]:
        class_names, table = read_label_table(config)
        pq.write_table(table, buffer)
        return list(class_names)

    class_names = agreement.on_root(collectives, read)
    sent = collectives.broadcast_bytes(buffer.getvalue())
    table = pq.read_table(io.BytesIO(sent))
    label_of = dict(zip(table["name"].to_pylist(), table["label"].to_pylist(), strict=True))
    return Relabelled(source, class_names, label_of, config.table)
