"""One file per method; file = function = config.method."""
