"""Horovod's rendezvous server on the first host of a network, where the ranks find each other.

    python -m hvd_imgcls.bench.network.rendezvous NUM_HOSTS PORT

One rank per host. Runs until it is killed.
"""

from __future__ import annotations

import sys

from horovod.runner.common.util.hosts import (  # noqa: TID251 - as horovodrun does
    get_host_assignments,
    parse_hosts,
)
from horovod.runner.http.http_server import (  # noqa: TID251
    RendezvousHandler,
    RendezvousHTTPServer,
)

from hvd_imgcls.bench.network.link import address, host_name
from hvd_imgcls.bench.network.programs import READY


def main(words: list[str]) -> None:
    """Serves; prints a line when it can be reached."""
    num_hosts = int(words[0])
    hosts = ",".join(f"{host_name(index)}:1" for index in range(num_hosts))
    server = RendezvousHTTPServer((address(0), int(words[1])), RendezvousHandler, 0)
    server.init(get_host_assignments(parse_hosts(hosts), num_hosts))
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
