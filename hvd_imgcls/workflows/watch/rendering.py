"""Writes what a run does as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hvd_imgcls.text.numbers import bytes_text, duration, percent
from hvd_imgcls.text.printable import printable
from hvd_imgcls.text.table import text_table
from hvd_imgcls.workflows.watch.reading import RunView, seconds_since
from hvd_imgcls.workflows.watch.state import state_of
from hvd_imgcls.workflows.watch.values import Values

MOST_ROWS = 256
"""Number of ranks, and of hosts, that are shown at most."""

_MOST_METRICS = 8
_RANK_HEADER = ("rank", "host", "waits for data", "for ranks", "cores", "memory", "")
_HOST_HEADER = (
    "host",
    "CPU",
    "load",
    "memory used",
    "available",
    "network in",
    "out",
    "disk read",
    "write",
    "GPU",
)


def render(view: RunView, most_rows: int = MOST_ROWS) -> list[str]:
    """Returns the lines that show a run.

    Args:
        view: What its files say.
        most_rows: Number of ranks, and of hosts, that are shown at most.
    """
    state = state_of(view)
    lines = [
        f"{view.path}: {state.text}",
        *_position(view, has_ended=state.has_ended),
        *_results(view),
    ]
    tables = [
        *_ranks(view.progress, most_rows),
        *_hosts(view.progress.rows("hosts"), most_rows),
    ]
    if tables:
        lines += ["", *tables]
    lines += ["", *view.problems]
    age = view.seconds_since_change
    lines.append("no file has been written" if age is None else f"files changed {_ago(age)}")
    return [printable(line) for line in lines]


def _position(view: RunView, *, has_ended: bool) -> Iterator[str]:
    """Yields how far the run is, or what is planned."""
    progress, plan, launch = view.progress, view.plan, view.launch
    size, hosts = launch.whole("size"), len(launch.inner("ranks_by_host").keys())
    parts = [] if size is None else [f"{_count(size, 'rank')} on {_count(hosts, 'host')}"]
    step, steps = progress.whole("step"), progress.whole("num_steps")
    if step is None or steps is None:
        epochs, planned = plan.whole("num_epochs"), plan.whole("num_steps")
        if epochs is not None and planned is not None:
            parts.append(f"{_count(epochs, 'epoch')}, {_count(planned, 'step')} planned")
    else:
        share = f" ({percent(step / steps)})" if steps > 0 else ""
        parts.append(f"epoch {_of(progress, 'epoch', 'num_epochs')}")
        parts.append(f"step {step:,}/{steps:,}{share}")
        parts += _speed(progress, has_ended=has_ended)
    if parts:
        yield "  ".join(parts)


def _speed(progress: Values, *, has_ended: bool) -> Iterator[str]:
    speed, left = progress.number("images_per_second"), progress.number("seconds_left")
    if speed is not None:
        yield f"{speed:,.0f} images/s"
    if left and not has_ended:
        yield f"{duration(left)} left"


def _results(view: RunView) -> Iterator[str]:
    """Yields metrics, the last checkpoint and the summary."""
    metrics = _metrics(view.progress.inner("metrics"))
    if metrics:
        where = " on rank 0" if view.progress.is_true("metrics_are_of_root") else ""
        yield f"metrics: {metrics}{where}"
    epoch = view.last_epoch.whole("epoch")
    if epoch is not None:
        yield f"last complete epoch, {epoch:,}: {_metrics(view.last_epoch) or 'no metrics'}"
    if view.checkpoint is None:
        yield "last checkpoint: none"
    else:
        age = seconds_since(view.checkpoint.created)
        when = "" if age is None else f", {_ago(age)}"
        yield f"last checkpoint: step {view.checkpoint.step:,}{when}"
    accuracy, total = view.summary.number("top1"), view.summary.inner("seconds").number("total")
    if accuracy is not None:
        time = "" if total is None else f", after {duration(total)}"
        yield f"held-out accuracy {accuracy:.4f}{time}"


_NOT_METRICS = {
    "epoch",
    "step",
    "seconds",
    "learning_rate",
    "images_per_second",
    "data_wait_share",
    "rank_wait_share",
    "slowest_rank",
    "peak_memory_bytes",
}


def _metrics(values: Values) -> str:
    shown = [(name, value) for name, value in values.numbers() if name not in _NOT_METRICS]
    return "  ".join(f"{name} {value:.4g}" for name, value in shown[:_MOST_METRICS])


def _ranks(progress: Values, most_rows: int) -> Iterator[str]:
    rows, slowest = progress.rows("ranks"), progress.whole("slowest_rank")
    if len(rows) > most_rows:
        # Who waits least is waited for.
        rows.sort(key=_waiting_for_ranks)
        yield f"the {most_rows} slowest of {len(rows):,} ranks:"
    shown = [_rank(row, slowest) for row in rows[:most_rows]]
    if shown:
        columns = max(map(len, shown))
        header = [*_RANK_HEADER, ""][:columns]
        yield from text_table([header, *shown])


def _waiting_for_ranks(row: Values) -> float:
    share = row.number("rank_wait_share")
    return 1.0 if share is None else share


def _rank(row: Values, slowest: int | None) -> list[str]:
    rank, examples = row.whole("rank"), row.whole("examples")
    return [
        "-" if rank is None else str(rank),
        printable(row.text("host")),
        _percent(row, "data_wait_share"),
        _percent(row, "rank_wait_share"),
        _number(row, "cores"),
        _bytes(row, "memory_bytes"),
        # Only if it can change.
        *([] if examples is None else [f"{examples} examples"]),
        "slowest" if rank is not None and rank == slowest else "",
    ]


def _hosts(rows: Sequence[Values], most_rows: int) -> Iterator[str]:
    if not rows:
        return
    yield ""
    if len(rows) > most_rows:
        yield f"the first {most_rows} of {len(rows):,} hosts:"
    yield from text_table([_HOST_HEADER, *(_host(row) for row in rows[:most_rows])])


def _host(row: Values) -> list[str]:
    cores = row.whole("cores")
    gpus = [
        f"{_percent(gpu, 'share')} {_bytes(gpu, 'memory_used_bytes')}" for gpu in row.rows("gpus")
    ]
    return [
        printable(row.text("host")),
        f"{_percent(row, 'cpu_share')}{'' if cores is None else f' of {cores:,}'}",
        _number(row, "load"),
        _bytes(row, "memory_used_bytes"),
        _bytes(row, "memory_available_bytes"),
        *(
            _bytes(row, f"{name}_bytes_per_second", "/s")
            for name in ("network_in", "network_out", "disk_read", "disk_write")
        ),
        ", ".join(gpus) or "none",
    ]


def _percent(row: Values, key: str) -> str:
    value = row.number(key)
    return "-" if value is None else percent(value)


def _number(row: Values, key: str) -> str:
    value = row.number(key)
    return "-" if value is None else f"{value:.2f}"


def _bytes(row: Values, key: str, unit: str = "") -> str:
    value = row.number(key)
    return "-" if value is None else f"{bytes_text(value)}{unit}"


def _of(values: Values, key: str, total: str) -> str:
    numbers = (values.whole(key), values.whole(total))
    return "/".join("-" if number is None else f"{number:,}" for number in numbers)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _ago(seconds: float) -> str:
    return f"{duration(seconds)} ago"
