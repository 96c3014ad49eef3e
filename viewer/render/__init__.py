"""Pictures of poses: overlays on an image, 3D figures, GLB files. Knows no data set."""
