"""Runs side by side, read from what their loggers left on disk: no account, no network."""
