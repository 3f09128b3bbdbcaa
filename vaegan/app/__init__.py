"""The page of `vaegan app`: animate, live, explore and compare in a browser, on this machine alone."""
