"""Two lists of detections and what is really there → numbers, tables, figures and a page."""
