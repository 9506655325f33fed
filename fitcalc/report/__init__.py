"""Answers for people: tables, Markdown, command lines."""
