"""What a trial on one machine without containers needs: docs/alerting.md."""
