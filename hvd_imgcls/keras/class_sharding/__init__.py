"""A last layer whose classes are divided over the ranks."""
