"""Where the ports meet a real store. Adapters know ports and core, and never the engine."""
