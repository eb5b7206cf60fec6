"""Record files: images in a few large files, with an index that makes access random.

The files are TFRecord files of `tf.train.Example`, which every TensorFlow tool can read.
The index says where in a file the bytes of each image are, so that one `pread` gets them.
"""
