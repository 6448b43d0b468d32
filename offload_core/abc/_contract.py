"""The version of the contracts: what a plugin says it was made for, and what this version of Offload can use."""

CONTRACT = 2
"""The newest version of the contracts that this version of Offload keeps."""

OLDEST_CONTRACT = 2
"""The oldest version of the contracts that this version of Offload still keeps."""
