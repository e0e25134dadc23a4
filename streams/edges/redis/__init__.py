"""State in Redis: clients, scripts, reading, writing, rights."""
