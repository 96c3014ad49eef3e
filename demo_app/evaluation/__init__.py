"""Accuracy by named protocols: `python -m demo_app evaluate --protocol NAME`.

No protocol chooses anything: what is measured is the given weights, and what was left out is
counted.
"""
