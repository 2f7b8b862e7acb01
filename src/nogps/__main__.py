"""`python -m nogps`: the command `nogps`."""

from nogps.cli.main import main

main()
