"""Fitting a network that scores places."""
