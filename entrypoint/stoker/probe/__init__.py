"""What this machine is, as one value: its GPUs, its CPU, and what cgroups leave of it."""
