"""The parts of the page, one file each: its components, what it shows, and its events."""
