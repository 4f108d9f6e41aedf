"""What PECOS's own process and the judge of its lists both know; imports nothing."""

BEAM_WIDTH = 50
LISTS = "pecos_lists.npy"
