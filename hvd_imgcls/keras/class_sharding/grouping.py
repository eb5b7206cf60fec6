"""Which ranks have one copy of a divided last layer, and which have the same part."""

from __future__ import annotations

from hvd_imgcls.distributed import Collectives, ProcessSet, global_process_set
from hvd_imgcls.plan.class_division import ClassDivision


def ranks_of_parts(
    collectives: Collectives, division: ClassDivision
) -> tuple[ProcessSet, ProcessSet | None]:
    """Returns the ranks with one copy of the layer, and those with the same part as this one.

    None for the latter if there are no others. Registers process sets if there are fewer parts than
    ranks, which `init(process_sets="dynamic")` allows. Collective: every rank must call this.

    Args:
        collectives: Communication between the ranks.
        division: How the classes are divided.
    """
    rank, num_parts, size = collectives.topology.rank, division.num_parts, division.size
    if num_parts == size:
        return global_process_set, None
    groups = [division.group(first) for first in range(0, size, num_parts)]
    copies = [division.copies(part) for part in range(num_parts)]
    if num_parts == 1:
        # Every rank is a group, which does not communicate.
        return global_process_set, global_process_set
    sets = {tuple(ranks): ProcessSet(ranks) for ranks in (*groups, *copies)}
    for process_set in sets.values():
        collectives.add_process_set(process_set)
    return sets[tuple(division.group(rank))], sets[tuple(division.copies(rank))]
