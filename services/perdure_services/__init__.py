"""The services of perdure: scheduler, activity worker, signal gateway, Temporal bridge, CLI."""
