"""Whether anything knows its future."""
