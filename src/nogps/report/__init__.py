"""What people look at: the report of a run, the map of `nogps locate`, tables as plain text."""
