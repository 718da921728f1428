"""Stoker as a worker of NVIDIA Dynamo. worker.py runs in Dynamo's own environment, and wire.py joins it to us."""
