"""Language-model embeddings of item texts, as files: texts in, ids + vectors + a card out.

Knows nothing of ratings, users or jax. Needs the `embed` extra: pip install 'jaxrec[embed]'.
"""
