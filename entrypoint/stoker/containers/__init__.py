"""Servers in containers of this host, through Docker's API or podman's."""
