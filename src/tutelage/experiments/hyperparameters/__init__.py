"""The hyper-parameters of experiments that have many, as TOML with named keys: one table per paper.

Beside each table stands a module with the dataclasses that it is read into, and says where its values come from.
"""
