"""What a run is configured to do: the tables of `offload.toml`, and how their values are found.

`schema` has the tables. `assembly` says which layers there are, `gate` lets their values in and keeps out what is
locked, `loading` makes tables of them. `runners` and `policy` are an organization's layers. `secrets` knows what must
not be shown.
"""
