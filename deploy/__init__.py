"""What it takes to run Surgewatch: containers, rules of Prometheus, dashboards of Grafana."""
