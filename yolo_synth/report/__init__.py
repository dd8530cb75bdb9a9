"""The report: a study's tables, sentences, figures and page."""
