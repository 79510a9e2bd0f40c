"""Tools that know no robots: files, provenance, argument checks, command lines, launchers, JAX settings."""
