"""Whether readings can be true: rules, flags, versions; what stands in for missing ones until the truth arrives.

`day` and `rules` judge, `estimating` fills gaps: pure, over what they are given. `running` loads a meter's days, judges
them and keeps each verdict as a version; `cases` is the queue of what is held for review, `series` what others read
(measured and estimated, with flags). `visits` sends somebody to meters that nobody hears. Records are never touched.

Domain functions on a connection. May import `reads`, `fleet`, `registry` and `store`; never `web`.
"""
