"""The life of a server: its engines one after another, and what is tried when one fails."""
