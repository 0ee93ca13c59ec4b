"""The signal gateway process: the durable front door of a namespace."""
