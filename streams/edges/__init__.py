"""The outside world, one thing a file: Kafka, Redis, files, settings, metrics, servers."""
