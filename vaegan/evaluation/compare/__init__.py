"""Runs side by side, read from the metrics.csv that each leaves in its folder: no account, no network."""
