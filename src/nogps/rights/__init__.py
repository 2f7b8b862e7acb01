"""Licences, and whom to credit."""
