"""Interactions and item texts in, a hybrid recommender with an honest score card out.

>>> import jaxrec
>>> data = jaxrec.load_dataset("synthetic")
>>> protocol = jaxrec.Protocol.of("strict", data, seed=1)
>>> train = data.interactions.at(protocol.split.train)
>>> pairs = jaxrec.observe(train, data.feedback, jaxrec.PmfSettings())
>>> factors, losses = jaxrec.fit_pmf(pairs, data.users, data.items)
>>> task = jaxrec.evaluation_task(data, protocol)
>>> found = jaxrec.evaluate(jaxrec.product(*factors), task, ks=(10,)).metrics
>>> found["precision@10"] > 0.05
True
"""

import lazy_loader

__version__ = "0.2.0.dev0"

# What there is stands in __init__.pyi; each name is imported on first use, so that
# `jaxrec --help` need not wait for JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
