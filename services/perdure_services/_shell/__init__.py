"""What every service process shares: settings, logs, health, signals, an orderly end.

May live here: the shell round a component of the engine. What the component does may not.
"""
