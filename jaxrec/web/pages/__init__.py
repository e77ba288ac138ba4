"""What is answered to people: the page on which one explores, and the one that lists the routes.

`views` are a model seen in several ways, `explore` the page of them, `docs` that of the routes. The
page is three files beside these, without a build step: they hold no data, and ask for it.
"""
