"""How classes are divided over ranks: `model.head: class_sharded`. Plain numbers, no tensors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDivision:
    """Consecutive classes for each part, and the ranks that have them.

    Consecutive ranks have the parts 0, 1, ... of one copy of the last layer, the next ones those of
    the next copy.

    Attributes:
        num_classes: Number of classes, at least one for each part.
        num_parts: Number of parts.
        size: Number of ranks, a multiple of `num_parts`.
    """

    num_classes: int
    num_parts: int
    size: int

    def __post_init__(self) -> None:
        if not 1 <= self.num_parts <= self.num_classes or self.size % self.num_parts:
            raise ValueError(f"{self}")

    def part(self, rank: int) -> int:
        """Returns the number of the part that a rank has."""
        return rank % self.num_parts

    def classes(self, part: int) -> range:
        """Returns the classes of a part; the sizes of parts differ by at most 1.

        >>> division = ClassDivision(num_classes=10, num_parts=3, size=3)
        >>> [division.classes(part) for part in range(3)]
        [range(0, 3), range(3, 6), range(6, 10)]
        """
        first, end = (one * self.num_classes // self.num_parts for one in (part, part + 1))
        return range(first, end)

    def group(self, rank: int) -> list[int]:
        """Returns the ranks that have one copy of the last layer, among them `rank`, ascending."""
        first = rank - self.part(rank)
        return list(range(first, first + self.num_parts))

    def copies(self, rank: int) -> list[int]:
        """Returns the ranks that have the same part as `rank`, ascending."""
        return list(range(self.part(rank), self.size, self.num_parts))
