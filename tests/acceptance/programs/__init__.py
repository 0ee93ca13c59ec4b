"""Programs as users of Temporal's Python SDK write them; only their import lines say perdure."""
