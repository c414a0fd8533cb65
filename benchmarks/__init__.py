"""How fast and how small the report is, measured against what reading its rows must cost."""
