"""Fixtures of the page's tests."""

from serving import encoded, number_plate, page, page_checkpoints

__all__ = ["encoded", "number_plate", "page", "page_checkpoints"]
