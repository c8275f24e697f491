"""What was asked: the study file and the search-space file, read, checked and resolved."""
