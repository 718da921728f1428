"""`stoker tune`: measures what a plan leaves open on this very machine, and keeps the quickest."""
