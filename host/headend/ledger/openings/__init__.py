"""What customers had before they came to these books: imports of opening balances, and the change to prepayment.

`files.py` reads them, `checking.py` is the dry run, `running.py` carries an approved one out, `notice.py` keeps supply
on until the customer has had notice and the credit is on the meter.
"""
