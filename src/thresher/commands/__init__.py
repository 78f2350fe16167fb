"""Implementation of the commands: options to specs, live progress, tables. Lower layers know nothing of terminals."""
