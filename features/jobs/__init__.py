"""Jobs: their lifecycle, dependencies, events, sweeps, and a form per kind."""
