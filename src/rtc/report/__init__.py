"""Reports: tables, figures, pages and videos of finished cells."""
