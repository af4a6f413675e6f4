"""The head end over HTTP: the API under /api/v1 and one read-only status page.

`api` lists every operation in one table; the routes (`app`), the OpenAPI document (`openapi`) and the tests read it.
`payments`, `meters`, `orders` and `health` carry operations out; `facts` reads what is known of a meter and `why` says
why its supply is off; `access` knows who calls; `problems` and `wire` are what goes in and out. `board` and `page` make
the status page. No rule of money or supply stands here: this package asks the other domains.
"""
