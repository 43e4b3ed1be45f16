"""What the product does, one small class per duty; adapters are handed in by `app.wiring`."""
