"""Measuring models: metrics, protocols and reports."""
