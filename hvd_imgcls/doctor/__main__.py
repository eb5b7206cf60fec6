"""`python -m hvd_imgcls.doctor`."""

from __future__ import annotations

import argparse
import sys

from hvd_imgcls.doctor import add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hvd_imgcls.doctor")
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
