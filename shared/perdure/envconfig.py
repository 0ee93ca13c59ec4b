"""``perdure.envconfig``: how to reach the server, as the program's surroundings say."""

from perdure.client.environment import ClientConfig, ClientConnectConfig

__all__ = ["ClientConfig", "ClientConnectConfig"]
