"""Says from the files of a run whether it lasts, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_imgcls.environment.record import host_name
from hvd_imgcls.run_directory.status import State
from hvd_imgcls.text.numbers import duration
from hvd_imgcls.workflows.watch.reading import RunView, seconds_since

_FRESH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunState:
    """Whether a run lasts.

    Attributes:
        text: The state, for people.
        has_ended: Whether it certainly has ended.
    """

    text: str
    has_ended: bool


def state_of(view: RunView, own_host: str | None = None) -> RunState:
    """Returns the state of a run.

    A process that holds the lock of the directory is the proof that a run goes on. Over a network
    file system, the lock of another host may be invisible; then the age of the files decides.

    Args:
        view: What the files say.
        own_host: Name of this host; by default what the system says.
    """
    status = view.status
    if view.is_locked:
        return RunState(_state_with_lock(view), has_ended=False)
    if status.state not in (State.KILLED, State.RUNNING):
        age = seconds_since(status.time)
        when = "" if age is None else f", {duration(age)} ago"
        return RunState(f"{status.text}{when}", has_ended=True)
    if status.host in ("", own_host or host_name()):
        return RunState(f"killed{_on(status.host)}, without a message", has_ended=True)
    age = view.seconds_since_change
    if age is not None and age < _FRESH_SECONDS:
        text = f"{_running(view)} (its lock is not visible here)"
    else:
        since = "" if age is None else f" for {duration(age)}"
        text = f"killed{_on(status.host)}, or not visible from here: no file has changed{since}"
    return RunState(text, has_ended=False)


def _state_with_lock(view: RunView) -> str:
    state = view.status.state
    if state is State.FINISHED:
        return "finished; the report is being written"
    if state in (State.STOPPED, State.FAILED):
        # The command that continues it has the lock, and has not yet written its status.
        return "starting again"
    return _running(view)


def _running(view: RunView) -> str:
    activity = view.progress.text("activity") or "starting"
    return f"running: {activity}{_on(view.status.host)}"


def _on(host: str) -> str:
    return f" on {host}" if host else ""
