"""Storage: what survives a restart, in the database and in files."""
