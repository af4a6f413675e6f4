"""Images of the firmware: kept, judged, brought to the meters of a campaign, and followed until they run.

`images` keeps them, `vendor` verifies who made them, `rules` says which meters an image is nothing for, `lifecycle` is
the life of one image on its way to one meter, `deliveries` carries it on in the database, `told` takes what meters say,
`courier` has the links carry. Campaigns ask for deliveries and count
them; of campaigns it knows their states alone.
"""
