"""Distributed training of image classifiers with Keras 3, TensorFlow and Horovod.

Importing this package imports neither TensorFlow nor Horovod. Existing Keras
projects import `hvd_imgcls.keras`; complete runs start with the command
`hvd-imgcls`.
"""

__version__ = "0.1.0"

__all__ = ["__version__", "load", "run"]


_MODULES = {"load": "hvd_imgcls.classifier", "run": "hvd_imgcls.launcher.functions"}


def __getattr__(name: str) -> object:
    """Returns `load` or `run`, whose module is imported only when it is used."""
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'hvd_imgcls' has no attribute {name!r}")
