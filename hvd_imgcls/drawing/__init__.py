"""Pictures made of arrays, with Pillow."""
