"""The evaluation protocol: a model's answers beside those of its baselines."""
