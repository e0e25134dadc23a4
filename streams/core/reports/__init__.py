"""What is told to people and other programs of counts, lag and check-ups."""
