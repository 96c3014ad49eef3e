"""Made heads: pictures whose pose is known exactly, from the project's own head model."""
