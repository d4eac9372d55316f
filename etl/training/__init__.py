"""Trains the models of the `local` classifier from texts with known answers. Needs the extra `ml`; nothing else does.

`examples` says which texts and answers a model is made from, `fit` makes it, `quality` measures it by cross-validation
and chooses from which confidence on it answers. What the figures mean is in docs/cascade.md.
"""
