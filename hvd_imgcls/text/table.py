"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def text_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table with columns as wide as their widest cell.

    The last cell of a shorter row may be wider than its column.

    Args:
        rows: The header, then the rows.

    >>> list(text_table([["name", "a", "b"], ["long name", "1", "2"], ["x", "an error"]]))
    ['name       a  b', 'long name  1  2', 'x          an error']
    """
    num_columns = max(len(row) for row in rows)
    widths = [
        max(
            len(row[column])
            for row in rows
            if column < len(row) and (column < len(row) - 1 or len(row) == num_columns)
        )
        for column in range(num_columns)
    ]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  ".join(cells).rstrip()
