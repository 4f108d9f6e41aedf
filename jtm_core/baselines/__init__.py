"""Systems that JTM is compared with, all on the same histories and judged by the same metrics."""
