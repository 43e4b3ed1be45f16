"""The simulated exchange: a server of its own that speaks Alpaca's REST over replayed or generated bars."""
