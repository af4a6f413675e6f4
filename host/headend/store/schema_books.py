"""Seals over the books and what else the books are held against (`headend.books`)."""
