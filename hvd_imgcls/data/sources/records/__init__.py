"""Record files: images packed into a few large files, with an index for random access.

The files are TFRecord files of `tf.train.Example`, which all TensorFlow tools can read.
The index stores the position of each encoded image in its file, so that one `pread` reads it.
"""
