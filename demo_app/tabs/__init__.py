"""Layout and wiring of the page, one module per part. The work is done in `demo_app.actions`."""
