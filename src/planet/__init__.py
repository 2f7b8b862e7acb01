"""A simulated planet: five photo services over HTTP on loopback, with photos drawn from a seed.

A program of its own: `python -m planet` prints one line of JSON (see `__main__`), serves, and
ends with the process that started it. No other package imports it; it imports the Earth alone.
"""
