"""The command `nogps`: `main` finds the command, and each command is a module of its own."""
