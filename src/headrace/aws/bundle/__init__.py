"""The functions' packages: pinned wheels, trimmed, and the same bytes from everybody."""
