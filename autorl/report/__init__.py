"""Tell what a study found: as text, as one HTML file, and as files for the user's own training code."""
