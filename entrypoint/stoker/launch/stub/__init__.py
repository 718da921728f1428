"""The Triton model of every engine kind whose runtime is in Python. Runs in Triton's stub, never in the API process.

A kind brings a `stub.runtime.Runtime`; taking requests over, batching limits, cancelling, pacing, gauges and the wire
are the same for all.
"""
