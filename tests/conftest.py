"""Settings of all tests, and the table of the groups of faults at the end."""

import signal
from collections import Counter

import pytest
from hypothesis import settings

# The machines that run the tests are shared: the time of one example says nothing.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# A background job ignores Ctrl-C, and with nohup the end of its terminal. What the tests start
# would inherit that; it does not inherit functions.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

_OUTCOMES = ("passed", "failed", "skipped")
_results: dict[str, Counter[str]] = {}
_seconds: Counter[str] = Counter()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Counts the cases of the groups of faults by how they ended."""
    report = (yield).get_result()
    marker = item.get_closest_marker("matrix")
    if marker is None:
        return
    group, cases = marker.args[0], marker.kwargs.get("cases", 1)
    _seconds[group] += report.duration
    if report.when == "call" or not report.passed:
        _results.setdefault(group, Counter())[report.outcome] += cases


def pytest_terminal_summary(terminalreporter):
    """Prints the table."""
    if not _results:
        return
    terminalreporter.section("groups of faults")
    width = max(map(len, _results))
    row = f"{{:{width}}}  {{:>6}}  {{:>6}}  {{:>6}}  {{:>7}}  {{:>8}}"
    terminalreporter.write_line(row.format("group", "cases", *_OUTCOMES, "seconds"))
    for group in sorted(_results):
        counts = _results[group]
        numbers = [counts[outcome] for outcome in _OUTCOMES]
        terminalreporter.write_line(
            row.format(group, sum(numbers), *numbers, f"{_seconds[group]:.0f}")
        )
