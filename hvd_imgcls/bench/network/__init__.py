"""A slow network on one machine: network namespaces, joined by a relay that delays packets."""
