"""`hvd-imgcls check-data`: inspects every image, on all ranks."""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hvd_imgcls import distributed, logs
from hvd_imgcls.data.order.splits import SPLITS, Split
from hvd_imgcls.data.sources.byte_ranges import PackedImages
from hvd_imgcls.data.sources.class_list import CLASS_NAMES_KEY
from hvd_imgcls.data.sources.class_sizes import describe_class_sizes, note_on_class_sizes
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.folder_scan import FolderProblem, describe_problems
from hvd_imgcls.errors import BadImagesError, ConfigError, DataError
from hvd_imgcls.files.atomic import replacing, require_writable
from hvd_imgcls.text.printable import printable
from hvd_imgcls.workflows.preparing.inspector import DEFAULT_SECONDS_PER_FILE, Inspector
from hvd_imgcls.workflows.preparing.manifest_summary import describe_manifest, note_on_large_images
from hvd_imgcls.workflows.startup.ranks import join_ranks

logger = logging.getLogger(__name__)

MANIFEST_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        # The path as bytes, if it is not valid text.
        ("path_bytes", pa.binary()),
        ("split", pa.string()),
        ("label", pa.int32()),
        ("class_name", pa.string()),
        # Why training could not decode the image; null if it could.
        ("problem", pa.string()),
        ("format", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("num_bytes", pa.int64()),
        ("checksum", pa.string()),
        ("remarks", pa.string()),
    ]
)
_MAX_NAMED = 20
# Distributed in pieces, so that every rank and process gets both small and large files.
_PIECE = 64


def check_data(
    source: FileSource | PackedImages,
    manifest_path: Path,
    *,
    max_pixels: int,
    seconds_per_file: float = DEFAULT_SECONDS_PER_FILE,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
    problems: Sequence[FolderProblem] = (),
    overwrites: bool = False,
) -> pa.Table:
    """Inspects every image, writes the manifest and reports all that is wrong.

    Collective: every rank must call this with equal arguments.

    Args:
        source: The images.
        manifest_path: Parquet file that the root writes, one row per image.
        max_pixels: Larger images are rejected by their header.
        seconds_per_file: Files that take longer are reported as bad.
        verbosity: How much is logged.
        problems: What is wrong with class folders, reported with the bad images.
        overwrites: Whether an existing file is replaced by the manifest.

    Returns:
        The manifest, on all ranks.

    Raises:
        ConfigError: If the manifest cannot be written or exists.
        BadImagesError: If there are bad images or other problems; the manifest is still written.
    """
    # Set up ranks and logging.
    ranks = join_ranks(verbosity)
    collectives, topology = ranks.collectives, ranks.topology
    distributed.agreement.require_same(
        collectives, {"data": source.fingerprint}, "start every rank with the same images"
    )

    # Fails now, not after hours, if the manifest cannot be written.
    manifest_path = manifest_path.absolute()
    distributed.agreement.on_root(
        collectives, lambda: _require_writable(manifest_path, overwrites=overwrites)
    )

    # Every rank inspects its pieces, in one process per core.
    examples = [(split, e) for split in SPLITS for e in range(source.num_examples(split))]
    pieces = [examples[first : first + _PIECE] for first in range(0, len(examples), _PIECE)]
    logger.info("%s images in %s classes", f"{len(examples):,}", f"{len(source.class_names):,}")
    rows = _inspect(
        source,
        pieces[topology.rank :: topology.size],
        ranks.threads.data,
        max_pixels,
        seconds_per_file,
    )

    # The root merges the rows and broadcasts the result.
    tables = collectives.gather_bytes(_to_bytes(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)))
    table = pa.concat_tables(pq.read_table(io.BytesIO(part)) for part in tables)
    table = table.sort_by([("split", "descending"), ("path", "ascending")])
    pinned = json.dumps(list(source.class_names)).encode()
    table = table.replace_schema_metadata({CLASS_NAMES_KEY: pinned})
    distributed.agreement.on_root(collectives, lambda: _write(table, manifest_path))
    logger.log(logs.RESULT, "%s", describe_manifest(table))
    about_size = note_on_large_images(table) if topology.is_root else None
    labels = source.labels("train")
    sizes = describe_class_sizes(labels, source.class_names)
    if sizes is not None:
        logger.log(logs.RESULT, "  training %s", sizes)
    about_classes = note_on_class_sizes(labels, len(source.class_names))
    for note in filter(None, (*source.notes, about_classes, about_size)):
        logger.info("note: %s", note)
    logger.log(logs.RESULT, "manifest written to %s", manifest_path)
    _require_good(table, manifest_path, problems)
    return table


def _inspect(
    source: FileSource | PackedImages,
    pieces: Sequence[Sequence[tuple[Split, int]]],
    num_processes: int,
    max_pixels: int,
    seconds_per_file: float,
) -> list[dict[str, Any]]:
    """Inspects some images and returns their rows."""
    labels = {split: source.labels(split) for split in SPLITS}
    thread_state = threading.local()
    inspectors: list[Inspector] = []
    total = sum(map(len, pieces))

    def inspect(piece: Sequence[tuple[Split, int]]) -> list[dict[str, Any]]:
        if not hasattr(thread_state, "inspector"):
            thread_state.inspector = Inspector(max_pixels, seconds_per_file)
            inspectors.append(thread_state.inspector)
        rows = []
        for split, example in piece:
            label = int(labels[split][example])
            rows.append(
                {
                    "format": "",
                    "remarks": "",
                    **_facts_of(source, split, example, thread_state.inspector),
                    **_path_columns(source, split, example),
                    "split": split,
                    "label": label,
                    "class_name": source.class_names[label],
                }
            )
        return rows

    try:
        rows: list[dict[str, Any]] = []
        pace = logs.Pace()
        with ThreadPoolExecutor(num_processes) as pool:
            for of_piece in pool.map(inspect, pieces):
                rows += of_piece
                if pace.is_due():
                    logger.info("inspected %s of %s on this rank", f"{len(rows):,}", f"{total:,}")
        return rows
    finally:
        for inspector in inspectors:
            inspector.close()


def _facts_of(
    source: FileSource | PackedImages, split: Split, example: int, inspector: Inspector
) -> dict[str, Any]:
    """Returns the facts about an image; images inside a larger file are extracted first."""
    if isinstance(source, FileSource):
        return inspector.inspect(source.path_of(split, example))
    try:
        (content,) = source.read(split, np.array([example]))
    except (DataError, OSError) as error:
        return {"problem": str(error)}
    with tempfile.NamedTemporaryFile(prefix="hvd-imgcls-image-") as file:
        file.write(content)
        file.flush()
        return inspector.inspect(Path(file.name))


def _path_columns(source: FileSource | PackedImages, split: Split, example: int) -> dict[str, Any]:
    """Returns the absolute path of an image, and its bytes if it is not valid text."""
    if not isinstance(source, FileSource):
        return {"path": source.name_of(split, example), "path_bytes": None}
    absolute = os.path.abspath(source.path_of(split, example))
    text = printable(absolute)
    return {"path": text, "path_bytes": None if text == absolute else os.fsencode(absolute)}


def _require_writable(path: Path, *, overwrites: bool) -> None:
    """Raises an error if the manifest cannot be written, or would replace a file unasked."""
    is_folder = os.path.isdir(path)
    if is_folder or (os.path.exists(path) and not overwrites):
        raise ConfigError(
            "--manifest",
            got=f"{path}, which exists",
            expected="a new file",
            fix="choose another name with --manifest FILE"
            + ("" if is_folder else ", or overwrite it with --force"),
        )
    _write(None, path)


def _write(table: pa.Table | None, path: Path) -> None:
    """Writes the manifest atomically; None only checks that it can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if table is None:
            require_writable(path)
        else:
            with replacing(path) as partial:
                pq.write_table(table, partial)
    except OSError as error:
        raise ConfigError(
            "--manifest",
            got=f"{path} ({error.strerror or error})",
            expected="a writable file",
            fix="choose another one",
        ) from error


def _to_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _require_good(table: pa.Table, manifest_path: Path, problems: Sequence[FolderProblem]) -> None:
    bad = [
        f"{row['path']}: {row['problem']}"
        for row in table.select(["path", "problem"]).to_pylist()
        if row["problem"] is not None
    ]
    parts = [describe_problems(problems)] if problems else []
    if bad:
        named = "\n  ".join(bad[:_MAX_NAMED])
        more = f"\n  and {len(bad) - _MAX_NAMED:,} more" if len(bad) > _MAX_NAMED else ""
        parts.append(
            f"{len(bad):,} of {table.num_rows:,} images cannot be read:\n  {named}{more}\n  to "
            f"fix it: replace or remove them; {manifest_path} lists all in the column `problem`"
        )
    if parts:
        raise BadImagesError("\n".join(parts))
