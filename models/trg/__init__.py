"""The TRG network in its two configurations (released, mini), its input, its checkpoints."""
