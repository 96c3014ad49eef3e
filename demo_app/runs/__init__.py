"""Training runs as folders: listing, starting, watching, stopping them. Knows no page."""
