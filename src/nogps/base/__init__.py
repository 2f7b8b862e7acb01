"""What everything else stands on: errors, whole files, settings.

Imports nothing of ours.
"""
