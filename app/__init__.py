"""The web page: translates between a person and the library, computes nothing."""
