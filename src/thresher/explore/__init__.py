"""A local page to walk through a run: `open_run` reads what is there, `serve` answers a browser on this machine."""
