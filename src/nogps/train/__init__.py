"""Fitting a network that scores places: linear probe, epochs, EMA."""
