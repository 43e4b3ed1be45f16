"""Around a backtest: request, runs of a strategy, result, comparison, and the report of divergence."""
