"""Drawing and data sets; knows no user interface."""
