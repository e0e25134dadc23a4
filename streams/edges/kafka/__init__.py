"""Kafka: its topics and facts, rights, what is sent to it and read back."""
