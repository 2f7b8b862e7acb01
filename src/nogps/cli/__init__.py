"""The command `nogps`: main, and a module a command."""
