"""The HTTP API: requests in, token ids to the engine and back, answers out."""
