"""Messages to people, sent outside the trading path."""
