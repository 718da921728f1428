"""From a model reference to files at a fixed revision, and the facts that they state."""
