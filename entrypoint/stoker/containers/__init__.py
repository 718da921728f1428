"""`stoker up`, `down` and `status`: servers in containers of this host, through Docker's API, which podman has too."""
