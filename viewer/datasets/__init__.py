"""Data sets: pictures with heads whose pose is known, and batches made of them for training."""
