"""What the commands do, one file per command and a folder for its parts."""
