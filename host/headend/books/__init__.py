"""The books made provable: seals, signed heads, their verification, and what the books are held against."""
