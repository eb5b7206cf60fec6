"""`make test-systems`: the whole set-up on bare Debian systems, and with other compilers."""
