"""What the commands do: options to specs, live progress, tables in the terminal. The lab below knows no terminal."""
