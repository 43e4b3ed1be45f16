"""Where bars come from: files, a generated market, a venue."""
