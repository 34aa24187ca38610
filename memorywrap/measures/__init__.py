"""How good a model and its explanations are: what is measured, and the reports written from it."""
