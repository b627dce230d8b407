"""Making, watching and unmaking a stack. Called by `project/cloud.py`; no function needs any of it."""
