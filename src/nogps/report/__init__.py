"""What people look at: the report, the map, tables as text."""
