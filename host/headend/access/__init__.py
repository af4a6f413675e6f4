"""Who may do what, where: permissions, roles, areas, people who sign in, and four eyes.

`permissions.py` lists what can be allowed; a channel's token and a person's grants are both made of it.
"""
