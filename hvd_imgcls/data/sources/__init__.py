"""Where the images come from: folders, tables, record files, scikit-learn."""
