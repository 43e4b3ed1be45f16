"""Rules that protect the account. Pure; nothing here knows a venue or a database."""
