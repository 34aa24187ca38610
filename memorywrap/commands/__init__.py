"""The command line: each command takes arguments in, makes one library call and prints lines."""
