"""What a run is configured to do: the tables of `offload.toml`, and how their values are found.

`schema` has the tables, `assembly` lays the layers of raw values over each other, `loading` makes tables of them.
`runners` and `policy` are an organization's layers, `locks` what they keep. `secrets` knows what must not be shown.
"""
