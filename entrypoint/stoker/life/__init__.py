"""The life of a server: its engines, and what follows when one fails."""
