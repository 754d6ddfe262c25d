"""Super-resolution: a small network that comes with the package, and the published ones of ResShift and SinSR."""
