"""What everything else stands on: errors that people read, files that are written whole.

Imports nothing of ours.
"""
