"""What the audit log proves and tells."""
