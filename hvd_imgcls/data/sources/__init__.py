"""Image sources: folders, tables, record files, scikit-learn."""
