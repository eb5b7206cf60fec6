"""`hvd-imgcls doctor -H`: whether several hosts are ready for one run."""
