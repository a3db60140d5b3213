"""Records of the log, and logs of before."""
