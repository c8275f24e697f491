"""What people have written for other tools, as studies and search spaces of autorl: `autorl import`."""
