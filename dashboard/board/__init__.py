"""What the pages of the dashboard share: reading (`data`), tables, figures, and how they are shown."""
