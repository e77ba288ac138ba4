"""Language-model embeddings of item texts, as files: texts in, vectors + a card out.

Knows nothing of ratings, users or jax. Needs the `embed` extra: pip install 'jaxrec[embed]'.
"""
