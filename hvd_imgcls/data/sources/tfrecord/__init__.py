"""TFRecord files that others wrote, made random access by an index that is made once."""
