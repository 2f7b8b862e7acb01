"""The command `nogps`."""
