"""Distributed training of image classifiers with Keras 3, TensorFlow and Horovod.

Importing this package imports neither TensorFlow nor Horovod. Existing Keras
projects import `hvd_imgcls.keras`; complete runs start with the command
`hvd-imgcls`.
"""

__version__ = "0.1.0"

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    """Returns `load`, whose module is imported only when it is used."""
    if name == "load":
        import importlib

        return importlib.import_module("hvd_imgcls.classifier").load
    raise AttributeError(f"module 'hvd_imgcls' has no attribute {name!r}")
