"""Scripts that the doctor runs by path, in processes of their own, and never imports."""
