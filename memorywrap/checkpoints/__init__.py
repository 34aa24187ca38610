"""What a model is on disk: its configuration, its folder of tensors, its model card."""
