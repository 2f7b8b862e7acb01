"""nogps: find where a photograph was taken from its pixels alone."""
