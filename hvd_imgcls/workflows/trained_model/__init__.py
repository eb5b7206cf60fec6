"""Loading of trained models, and test-time augmentation."""
