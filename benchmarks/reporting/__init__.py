"""How results are shown and kept: tables, Markdown, JSON, pictures, comparisons."""
