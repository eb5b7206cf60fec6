"""A trained model: loading it, and predicting with test-time augmentation."""
