"""Reporting: tables, pages and texts made of records."""
