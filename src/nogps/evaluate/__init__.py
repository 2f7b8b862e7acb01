"""How well a model answers: protocol, baselines, analysis.

`protocol` says what counts and makes a row of the results table; `measure` answers a set of photos
by a model and by its `baselines`; `analysis` and `regions` count what the answers get wrong.
"""
