"""The data sets: what they are, where their images come from, how samples and banks are drawn from them.

Those that can be loaded by name are registered by the modules imported here.
"""

from memorywrap.data import folders, published, rendered

__all__ = ["folders", "published", "rendered"]
