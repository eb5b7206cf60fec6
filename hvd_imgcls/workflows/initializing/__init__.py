"""`hvd-imgcls init`: a pipeline for a folder of images."""
