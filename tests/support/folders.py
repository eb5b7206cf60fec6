"""Folders of images."""

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.sources.image_folder import open_image_folder


def open_folder(root):
    return open_image_folder(ImageFolderSource(name="image_folder", path=str(root)))
