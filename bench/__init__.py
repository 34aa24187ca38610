"""Measurements that print or write their tables; each is run as `python -m bench.NAME`."""
