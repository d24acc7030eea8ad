"""Settings of other systems, translated into ours."""
