"""The peer irspack's iALS, with item features as side information."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
from scipy.sparse import csr_matrix

from jaxrec.models.factorization import PMF_SPACE
from jaxrec.models.model import Evidence, Model, Range, Settings
from jaxrec.topk.scorer import Product, product


def _ials(evidence: Evidence, settings: Settings) -> Product:
    """The iALS of irspack, of liked ratings, with item features as side information."""
    from irspack.recommenders import IALSRecommender

    X, asking = evidence.matrices("liked")
    model = IALSRecommender(
        csr_matrix(X),
        n_components=settings["factors"],
        alpha0=settings["w0"],
        reg=settings["lambda_"],
        nu=settings["nu"],
        item_features=evidence.features(settings["metadata"]),
        lambda_item_feature=settings["lambda_w"],
        train_epochs=settings["sweeps"],
        random_seed=evidence.seed,
    )
    with redirect_stdout(StringIO()):  # a progress bar that cannot be turned off
        model.learn()
    U = np.array(model.get_user_embedding())
    if len(evidence.split.given):
        new = np.unique(evidence.given.users)
        U[new] = model.compute_user_embedding(csr_matrix(asking)[new])
    return product(U, np.asarray(model.get_item_embedding()))


SPACE = PMF_SPACE | {"metadata": Range(0.3, 5.0), "lambda_w": Range(0.01, 100.0)}

MODELS = {
    "ials": Model(
        "irspack iALS with item features",
        _ials,
        {"factors": 192, "lambda_": 0.27, "nu": 0.5, "w0": 0.08, "metadata": 0.5, "lambda_w": 3.0}
        | {"sweeps": 15},
        SPACE,
        text=True,
        needs="irspack",
    ),
}
