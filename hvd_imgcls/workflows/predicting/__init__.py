"""Parts of `hvd-imgcls predict`: which images, who takes which, what was done, what is written."""
