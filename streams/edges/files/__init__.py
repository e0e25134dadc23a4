"""Files of records, series and state."""
