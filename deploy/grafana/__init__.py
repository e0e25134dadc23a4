"""Grafana's dashboards: written by ``make docs`` from the catalogue of metrics and the alert rules.

One file a dashboard: ``surges_now.py``, ``workers.py``, ``detector_health.py``. What they are made
of: ``queries.py`` (PromQL with its unit), ``alert_limits.py`` (thresholds), ``panels.py`` and
``frame.py`` (variables, links, annotations). ``build.py`` has them all.
"""
