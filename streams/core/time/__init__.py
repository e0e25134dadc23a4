"""Event time: buckets, the watermark's clock, and which clock to believe."""
