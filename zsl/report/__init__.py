"""Pages about finished runs: tables, figures and provenance, which a browser shows without this program."""
