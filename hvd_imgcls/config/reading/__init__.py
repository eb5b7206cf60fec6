"""From a pipeline file and the command line to a checked configuration."""
