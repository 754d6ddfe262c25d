"""Parts of a report: its sections, and the page that holds them."""
