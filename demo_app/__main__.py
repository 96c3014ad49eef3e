"""`python -m demo_app VERB`."""

from __future__ import annotations

from demo_app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
