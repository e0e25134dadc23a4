"""The command ``surgewatch backtest``."""
