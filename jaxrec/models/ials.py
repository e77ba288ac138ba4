"""The peer irspack's iALS, with item features as side information."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
from scipy.sparse import csr_matrix

from jaxrec.models import cost
from jaxrec.models.factorization import PMF_SPACE, ask_factors, item_factors
from jaxrec.models.model import Arrays, Asking, Evidence, Model, Range, Settings
from jaxrec.pmf.objective import PmfSettings
from jaxrec.topk.scorer import Product


def _ials(evidence: Evidence, settings: Settings) -> Arrays:
    """The iALS of irspack, of liked ratings, with item features as side information."""
    from irspack.recommenders import IALSRecommender

    X = evidence.matrix("liked")
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
    U, V = model.get_user_embedding(), model.get_item_embedding()
    return {"U": np.array(U), "V": np.array(V), "rated": np.ones(len(V), np.uint8)}


def _ask(arrays: Arrays, asking: Asking, settings: Settings) -> Product:
    """Its objective for a user is that of all-pairs PMF (Rendle 2021), and so is her minimum."""
    own = {name: settings[name] for name in ("factors", "lambda_", "nu", "w0")}
    return ask_factors(arrays, asking, PmfSettings(target="liked", **own))


SPACE = PMF_SPACE | {"metadata": Range(0.3, 5.0), "lambda_w": Range(0.01, 100.0)}

MODELS = {
    "ials": Model(
        "irspack iALS with item features",
        _ials,
        _ask,
        {"factors": 192, "lambda_": 0.27, "nu": 0.5, "w0": 0.08, "metadata": 0.5, "lambda_w": 3.0}
        | {"sweeps": 15},
        SPACE,
        cost.pmf,
        text=True,
        needs="irspack",
        vectors=item_factors,
    ),
}
