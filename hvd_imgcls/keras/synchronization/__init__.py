"""Synchronization modes: how ranks are kept in step."""
