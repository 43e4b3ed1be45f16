"""The routes, and how everything looks on the wire."""
