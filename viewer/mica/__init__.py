"""MICA's training set, made from the original data sets' pictures and MICA's FLAME parameters."""
