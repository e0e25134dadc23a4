"""The batch transport: from the socket to chunks that Faust hands to the worker."""
