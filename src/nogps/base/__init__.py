"""What everything else stands on, importing nothing of ours: errors, whole files, settings."""
