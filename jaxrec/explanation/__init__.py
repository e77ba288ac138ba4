"""What a score is made of, and which of a user's items speak for it.

`parts` are what a score is the sum of, `split` takes it apart, fused or not, as it was ranked,
`words` say it to people and programs. Imports the ground, `data`, `topk`, `evaluation`, `models`
and `fusion`.
"""
