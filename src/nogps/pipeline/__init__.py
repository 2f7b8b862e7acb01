"""What binds the stages together: params.yaml, where files lie, running a stage.

The only place that knows params.yaml, paths and DVC.
"""
