"""The application: inference pipelines, command line, and the Gradio user interface."""
