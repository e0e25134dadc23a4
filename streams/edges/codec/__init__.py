"""Records as bytes: decoded into columns, and written."""
