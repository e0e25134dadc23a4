"""Languages of comments, and when their shares shift."""
