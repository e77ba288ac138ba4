"""Probabilistic Matrix Factorization: one objective, three likelihoods, three solvers.

With x_ui = U_u . V_i (+ b_u + c_i with biases) all three likelihoods minimise

    sum over observed of w_ui (t_ui - g(x_ui))^2  +  w0 sum over all pairs of x_ui^2
        + sum over users of lambda (n_u + w0 items)^nu (|U_u - M_u|^2 + b_u^2)
        + sum over items of lambda (n_i + w0 users)^nu (|V_i - M_i|^2 + c_i^2)

with n the vector's number of observed pairs and M the prior means (0 unless given). With item
features E the means of the items are M = E W, and W is learned too, at a cost of lambda_w |W|^2
(`text_prior`). lambda and nu may differ between users and items.

| likelihood  | g        | t                             | w0  | source                            |
|-------------|----------|-------------------------------|-----|-----------------------------------|
| `gaussian`  | identity | the value                     | 0   | Salakhutdinov & Mnih 2008, eq. 4  |
| `logistic`  | logistic | the value, its scale made 0-1 | 0   | the same, eq. 5                   |
| `all-pairs` | identity | 1 if liked, or graded         | > 0 | Hu 2008, eq. 3; Rendle 2021 eq. 2 |

Targets of `all-pairs`: `liked` (1 on what is liked, the rest unobserved) or `graded` (see
`Feedback`): of stars every value, 1 where it is just liked and 0 where it says nothing; of counts
w = confidence, and t such that an observed pair is best predicted by 1 (Hu's alpha is 1 / w0).

`objective` holds settings and targets; `fit` fits it by alternating least squares (`half_sweep`,
laid out in `tiles`) or by gradients (`gradient`), `sequential` as the published program did, one
interaction at a time; `mesh` does the first of these on many devices; `sweeps` lets any of them
be interrupted. Imports the ground and `data`.
"""
