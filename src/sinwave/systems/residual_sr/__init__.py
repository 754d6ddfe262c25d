"""Super-resolution by a residual shift: the published networks of ResShift and of SinSR, its one-step student."""
