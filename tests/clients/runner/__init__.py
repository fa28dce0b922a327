"""The acceptance run of `tests/clients/run`: installs clients and suites, starts a server, runs them against it."""
