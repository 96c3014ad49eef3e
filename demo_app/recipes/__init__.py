"""What each recipe trains and on what: the parts of a run that `demo_app.train` puts together."""
