"""Lets `python -m hvd_imgcls` do what the command `hvd-imgcls` does."""

from hvd_imgcls.cli import run

if __name__ == "__main__":
    run()
