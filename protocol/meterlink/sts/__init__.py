"""sts: 20-digit tokens that a customer types, in the format of IEC 62055-41 with EA11 (MISTY1) and DKGA04.

A meter carries `misty1` (decryption), `token` (digits to fields), `amount` (what a register says), `keychange`
(sections to a new key) and `results` (its answers). The host alone has `dkga04` (decoder keys), `encipher`, `issue`
(tokens of every class) and `fields` (a token in words). It implements the EA11/DKGA04 token format, checked against
public known answers; that is no certification. `docs/typed-tokens.md` is the same in prose.
"""
