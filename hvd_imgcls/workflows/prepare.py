"""`hvd-imgcls prepare`: converts image files to record files, on all ranks."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from hvd_imgcls import distributed, logs
from hvd_imgcls.data.bad_examples.unreadable import READ_ERRORS, reason_of
from hvd_imgcls.data.order.splits import SPLITS, Numbers, Split
from hvd_imgcls.data.randomness.generators import generator_of
from hvd_imgcls.data.sources.base import EncodedSource
from hvd_imgcls.data.sources.records.hosts import block_rows, describe_assignment, write_assignment
from hvd_imgcls.data.sources.records.layout import (
    INDEX_SCHEMA,
    RecordsDir,
    RecordsMetadata,
    read_metadata,
)
from hvd_imgcls.data.sources.records.reading import Records
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.failures import process_state
from hvd_imgcls.files.json_files import write_json
from hvd_imgcls.files.outside import MAX_ENTIRE_BYTES, read_bytes
from hvd_imgcls.files.parquet_files import read_parquet
from hvd_imgcls.workflows.preparing.re_encoding import Encoding, encode
from hvd_imgcls.workflows.preparing.record_writing import Record, write_block, write_rows
from hvd_imgcls.workflows.startup.ranks import join_ranks

logger = logging.getLogger(__name__)

# Separates the random stream of the order from other uses of the same seed.
_PURPOSE = 0x7265636F7264  # "record"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One record file to write.

    Attributes:
        split: Its split.
        number: Its number in the split.
        examples: Example numbers of the source, in file order.
    """

    split: Split
    number: int
    examples: Numbers


def prepare(
    source: EncodedSource,
    destination: Path,
    *,
    encoding: Encoding | None = None,
    examples_per_block: int = 1024,
    seed: int = 0,
    num_hosts: int | None = None,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
) -> Records:
    """Writes record files and their index, then reads them back for verification.

    Collective: every rank must call this with equal arguments. A preparation that was
    killed resumes with the missing files, on any number of ranks.

    Args:
        source: The images.
        destination: Folder to write into, visible to all ranks.
        encoding: How images are re-encoded; None keeps the files unchanged.
        examples_per_block: Examples per record file.
        seed: Seed of the order in which examples are assigned to the files.
        num_hosts: Hosts to divide the files over, for `data.placement`; None for no division.
        verbosity: How much is logged.

    Returns:
        The record files as a source.

    Raises:
        ConfigError: If the folder contains something else.
        DataError: If an image cannot be decoded, or a record differs from what was written.
    """
    # Set up ranks and logging.
    ranks = join_ranks(verbosity)
    collectives, topology = ranks.collectives, ranks.topology
    encoding = encoding or Encoding()

    # Plan the files: the same on all ranks, and the same after a restart.
    metadata = _make_metadata(source, encoding, examples_per_block, seed)
    distributed.agreement.require_same(
        collectives,
        {"records": metadata.to_json()},
        "start every rank with the same command line and the same images",
    )
    files = RecordsDir(destination)
    if _begin(files, metadata, collectives):
        logger.log(logs.RESULT, "%s already holds these images", destination)
        _divide(files, metadata, num_hosts, collectives)
        return Records(destination)
    blocks = list(_blocks(metadata))
    total = sum(metadata.num_examples.values())
    logger.info("%s images into %s files in %s", f"{total:,}", f"{len(blocks):,}", destination)

    # Every rank writes every size-th file, then verifies those of its neighbour.
    mine = blocks[topology.rank :: topology.size]
    missing = [block for block in mine if not files.part(block.split, block.number).exists()]
    if len(missing) < len(mine):
        logger.info("resuming: %d of %d files exist", len(mine) - len(missing), len(mine))
    process_state.remains = "the same command continues with the missing files"
    pace = logs.Pace()
    for block in missing:
        records = _records(source, block, metadata.class_names, encoding)
        write_block(
            files.block(block.split, block.number),
            files.part(block.split, block.number),
            block.number,
            records,
        )
        if pace.is_due():
            logger.info("written: %d of %d files", files.num_parts(), len(blocks))
    collectives.barrier()
    for block in blocks[(topology.rank + 1) % topology.size :: topology.size]:
        _verify(files, block)
    collectives.barrier()

    # The index of all files, and last the file that marks the folder as complete.
    if topology.is_root:
        _finish(files, metadata)
    collectives.barrier()
    logger.log(logs.RESULT, "verified: %s images are in %s", f"{total:,}", destination)
    _divide(files, metadata, num_hosts, collectives)
    return Records(destination)


def _make_metadata(
    source: EncodedSource, encoding: Encoding, examples_per_block: int, seed: int
) -> RecordsMetadata:
    writes_jpeg = encoding.max_side is not None and not encoding.is_raw
    return RecordsMetadata(
        class_names=tuple(source.class_names),
        num_examples={split: source.num_examples(split) for split in SPLITS},
        examples_per_block=examples_per_block,
        seed=seed,
        source_fingerprint=source.fingerprint,
        encoding={
            "max_side": encoding.max_side,
            "quality": encoding.quality if writes_jpeg else None,
            "is_raw": encoding.is_raw,
        },
    )


def _begin(
    files: RecordsDir, metadata: RecordsMetadata, collectives: distributed.Collectives
) -> bool:
    """Creates the folder on the root; returns whether it is already complete. Collective."""
    done: bool = distributed.agreement.on_root(collectives, lambda: _claim(files, metadata))
    return done


def _claim(files: RecordsDir, metadata: RecordsMetadata) -> bool:
    for path in (files.metadata, files.plan):
        if path.exists():
            if read_metadata(path) != metadata:
                raise ConfigError(
                    "DEST",
                    got=str(files.path),
                    expected="an empty folder, or one with the same images and options",
                    fix="choose another folder, or delete this one",
                )
            return path == files.metadata
    if files.path.exists() and any(files.path.iterdir()):
        raise ConfigError(
            "DEST",
            got=str(files.path),
            expected="an empty folder",
            fix="choose another folder, or delete this one",
        )
    try:
        files.part("train", 0).parent.mkdir(parents=True)
        write_json(files.plan, metadata.to_json())
    except OSError as error:
        raise ConfigError(
            "DEST",
            got=f"{files.path} ({error.strerror})",
            expected="a folder that can be created",
            fix="choose another one",
        ) from error
    return False


def _blocks(metadata: RecordsMetadata) -> Iterator[Block]:
    """Yields every file with its examples, each a random sample of its split."""
    for split_number, split in enumerate(SPLITS):
        generator = generator_of(_PURPOSE, metadata.seed, split_number)
        order = generator.permutation(metadata.num_examples[split])
        for number in range(metadata.num_blocks(split)):
            first = number * metadata.examples_per_block
            yield Block(
                split=split,
                number=number,
                examples=order[first : first + metadata.examples_per_block],
            )


def _records(
    source: EncodedSource, block: Block, class_names: tuple[str, ...], encoding: Encoding
) -> Iterator[Record]:
    read = source.make_reader(block.split)
    labels = source.labels(block.split)
    for example in block.examples.tolist():
        name = source.name_of(block.split, example)
        try:
            contents = read(np.int64(example)).numpy()
        except READ_ERRORS as error:
            raise DataError(
                f"{name}: cannot be read ({reason_of(error)}); replace or remove it"
            ) from None
        image = encode(contents, name, encoding)
        label = int(labels[example])
        yield Record(
            contents=image.contents,
            label=label,
            class_name=class_names[label],
            name=source.id_of(block.split, example),
            height=image.height,
            width=image.width,
        )


def _verify(files: RecordsDir, block: Block) -> None:
    """Raises an error unless a file contains what its index rows describe."""
    path = files.block(block.split, block.number)
    table = read_parquet(files.part(block.split, block.number))
    content = read_bytes(path, MAX_ENTIRE_BYTES)
    for position, row in enumerate(table.select(["offset", "size", "checksum"]).to_pylist()):
        image = content[row["offset"] : row["offset"] + row["size"]]
        if xxhash.xxh3_64_intdigest(image) != row["checksum"]:
            raise DataError(
                f"{path}, record {position}: differs from what was written; check the disk, delete "
                f"{files.path} and prepare it again"
            )


def _finish(files: RecordsDir, metadata: RecordsMetadata) -> None:
    """Writes the index and the metadata, and deletes the files needed for resuming."""
    for split in SPLITS:
        parts = [
            read_parquet(files.part(split, number)) for number in range(metadata.num_blocks(split))
        ]
        index = pa.concat_tables(parts) if parts else INDEX_SCHEMA.empty_table()
        write_rows(files.index(split), index)
        write_rows(files.blocks(split), block_rows(parts, len(metadata.class_names)))
    write_json(files.metadata, metadata.to_json())
    files.plan.unlink()
    shutil.rmtree(files.part("train", 0).parent)


def _divide(
    files: RecordsDir,
    metadata: RecordsMetadata,
    num_hosts: int | None,
    collectives: distributed.Collectives,
) -> None:
    """Divides the files over hosts if requested. Collective."""
    if num_hosts is None:
        return

    def divide() -> str:
        assignment = write_assignment(files, metadata, num_hosts)
        blocks = {split: read_parquet(files.blocks(split)) for split in SPLITS}
        return describe_assignment(blocks, assignment)

    text = distributed.agreement.on_root(collectives, divide)
    logger.info("divided over %d hosts:\n%s", num_hosts, text)
    logger.info(
        "copy each host's files to it, for example\n  rsync -a --files-from=%s %s/ HOST:FOLDER/",
        files.host_files(0, num_hosts),
        files.path,
    )
