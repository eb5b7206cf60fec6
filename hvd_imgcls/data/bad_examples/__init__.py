"""Bad examples: images that cannot be decoded."""
