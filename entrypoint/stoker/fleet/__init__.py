"""A server as one of a fleet that something else routes requests to."""
