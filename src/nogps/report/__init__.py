"""What people look at: the report, the map of located photos, the table."""
