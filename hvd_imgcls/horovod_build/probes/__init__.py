"""Scripts that are run by path in the target Python, never imported.

They have a directory of their own because Python puts the directory of a script first on
its path, where a neighbour called `wheel.py` would hide the package `wheel`.
"""
