"""`python -m hvd_imgcls.horovod_build`: run by `make setup`, with as few imports as possible."""

from __future__ import annotations

import argparse
import sys

from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.horovod_build.command import add_arguments, run
from hvd_imgcls.logs import Verbosity


def main() -> int:
    """Returns the exit code of the process."""
    parser = argparse.ArgumentParser(prog="python -m hvd_imgcls.horovod_build")
    parser.set_defaults(verbosity=Verbosity.NORMAL)
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except HvdImgclsError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to continue\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
