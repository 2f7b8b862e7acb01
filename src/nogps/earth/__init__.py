"""The globe: distances, S2 cells, towns, land and sea. Knows no photo."""
