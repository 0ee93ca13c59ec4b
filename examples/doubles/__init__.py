"""Local stand-ins for systems that the examples would otherwise need an account for."""
