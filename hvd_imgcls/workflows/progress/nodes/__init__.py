"""The use of all hosts and ranks of a run, shown while it lasts and kept in its directory."""

from hvd_imgcls.workflows.progress.nodes.monitor import NodeMonitor, start_monitor

__all__ = ["NodeMonitor", "start_monitor"]
