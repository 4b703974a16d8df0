"""Network architectures: plain modules, one a file, each with its frozen configuration on top."""
