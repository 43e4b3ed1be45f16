"""Background work: each task is parse, one service call, present. Names and limits stand in `app.celery_config`."""

from app.tasks.backtests import run_backtest
from app.tasks.divergence import compare_with_backtest
from app.tasks.learning import optimize_hyperparameters_for_watchlist, train_models_batch
from app.tasks.research import optimize_ensemble, work_on_research
from app.tasks.trading import reconcile_books, smart_trading_pipeline
from app.tasks.upkeep import deliver_outbox

__all__ = [
    "compare_with_backtest",
    "deliver_outbox",
    "optimize_ensemble",
    "optimize_hyperparameters_for_watchlist",
    "reconcile_books",
    "run_backtest",
    "smart_trading_pipeline",
    "train_models_batch",
    "work_on_research",
]
