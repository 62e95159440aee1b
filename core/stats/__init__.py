"""Statistics on arrays: no database, no network, no screen."""
