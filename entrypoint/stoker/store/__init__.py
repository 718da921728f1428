"""Finished engines by a key of all that changes their bytes: kept, fetched, checked."""
