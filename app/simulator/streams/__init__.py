"""WebSockets: trade updates, market data and news."""
