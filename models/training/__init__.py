"""The trainer core: PoseBatch in, weights out. Knows no data set."""
