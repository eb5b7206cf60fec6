"""What `hvd-imgcls export` is made of."""
