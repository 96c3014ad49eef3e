"""Speed: `python -m demo_app benchmark NAME`; the last line printed is a JSON object."""
