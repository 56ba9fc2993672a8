"""The process that runs the sweeps which a server was asked for: spawned by the server, and gone with it."""
