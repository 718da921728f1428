"""The API in several processes, that share one port. The server's decides what has to be right over all."""
