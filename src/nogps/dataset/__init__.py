"""From bytes to a data set: packing, folds, cells."""
