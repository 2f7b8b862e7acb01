"""What binds the stages together: params.yaml, paths, DVC.

Nothing below knows of any of the three.
"""
