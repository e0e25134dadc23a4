"""The outside world, a folder for each thing: Kafka, Redis, files, settings, metrics, servers."""
