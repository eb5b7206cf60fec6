"""The rendezvous server on the first host of a network, where the ranks find each other.

    python -m hvd_imgcls.bench.network.rendezvous NUM_HOSTS PORT

One rank per host. Runs until it is killed.
"""

from __future__ import annotations

import os
import sys

from hvd_imgcls.bench.network.link import address, host_name
from hvd_imgcls.bench.network.programs import READY
from hvd_imgcls.launcher.hosts import Host, assign
from hvd_imgcls.launcher.rendezvous import SECRET_VARIABLE, RendezvousServer


def main(words: list[str]) -> None:
    """Serves; prints a line when it can be reached."""
    num_hosts = int(words[0])
    hosts = [Host(host_name(index), 1) for index in range(num_hosts)]
    server = RendezvousServer(address(0), int(words[1]), os.environ[SECRET_VARIABLE])
    server.store.expect(assign(hosts, num_hosts))
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
