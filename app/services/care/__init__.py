"""Care for an installation: backup and restore, and what is wrong with it."""
