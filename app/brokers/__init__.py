"""Adapters to venues: their JSON to our domain and back, timeouts, rate limits, errors sorted by reaction."""
