"""What a run is configured to do: the tables of `offload.toml`, and how their values are found.

`schema` has the tables, `loading` turns layers of raw values into them, `secrets` knows what must not be shown.
"""
