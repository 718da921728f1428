"""A pure function: which engine serves a model on a machine, its limits, and why."""
