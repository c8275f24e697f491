"""Serve the dashboard. Started by `autorl dashboard`, with Streamlit's arguments.

What the pages need is imported before the server starts, and not when the first visitor waits for a page.
"""

from __future__ import annotations

import importlib

for _name in ("pandas", "plotly.graph_objects", "scipy.stats", "sqlalchemy", "autorl.report.sentences"):
    importlib.import_module(_name)

if __name__ == "__main__":
    from streamlit.web.cli import main

    main()
