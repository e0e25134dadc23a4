"""The process and its machine: clock, memory, health, watchdog, children."""
