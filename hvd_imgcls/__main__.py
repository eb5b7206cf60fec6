"""Runs the command `hvd-imgcls` as `python -m hvd_imgcls`."""

from hvd_imgcls.cli import run

if __name__ == "__main__":
    run()
