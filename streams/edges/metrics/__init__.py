"""Metrics: the catalogue, the objects made from it, and the page that shows them."""
