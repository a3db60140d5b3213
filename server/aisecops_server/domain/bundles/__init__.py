"""Policy as an artefact: bundles, what is live, signed channels and releases."""
