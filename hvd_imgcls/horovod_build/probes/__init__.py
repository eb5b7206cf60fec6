"""Scripts that are run by path in the target Python, never imported.

They are in a separate directory because Python puts the directory of a script first on its
path, where a module called `wheel.py` would hide the package `wheel`.
"""
