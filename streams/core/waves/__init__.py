"""Waves that lift many: sums by cohort, levels, factors, and the incident that is told."""
