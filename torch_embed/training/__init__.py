"""How an encoder learns.

`recipe` is all there is to decide, `preflight` whether it fits, `lesson` what is learned from;
`examples`, `losses` and `backward` make a step, `finetune` the epochs, `state` what a killed run
goes on from. Imports `encoding` and what that imports.
"""
