"""The panels of the report: a file each, a subject each; the report is their list in report.py."""
