"""The data sets: what they are, where their images come from, how samples and banks are drawn from them."""
