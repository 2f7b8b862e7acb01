"""How well a model answers: what counts, photos measured, baselines, errors counted."""
