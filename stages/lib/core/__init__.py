"""Row types, checked tables, atomic files and paths."""
