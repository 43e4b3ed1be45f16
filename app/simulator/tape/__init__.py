"""The tape: where its prices come from, and every question that may be asked of it at a moment."""
