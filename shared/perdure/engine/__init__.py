"""What drives the core over the ports: schedulers, activity workers, doors. Knows no NATS."""
