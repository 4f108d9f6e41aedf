"""Which measurements there are: themes, and the processes each consists of."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.runner import Job

DATA = Path(__file__).parent / ".data"
"""Worlds and logs made for a run; removed at its end."""
Sizes = Sequence[int]


def sized(module: str, name: str, sizes: Sizes, *arguments: str, limit: int = 600) -> list[Job]:
    """A process for each number of items."""
    return [Job(f"{name}_{items}", f"benchmarks.{module}", ("--items", str(items), *arguments), limit, {"items": items}) for items in sizes]


def quick() -> list[Job]:
    """The figures that every change should be looked at with."""
    return [Job("quick", "benchmarks.quick", limit=300)]


def core(sizes: Sizes) -> list[Job]:
    """Quick figures, training over growing numbers of items, a profile of a step."""
    together = ("--items", *map(str, sizes))
    return [
        *quick(),
        Job("train_growth", "benchmarks.train_growth", together),
        Job("train_growth_bf16", "benchmarks.train_growth", (*together, "--precision", "bfloat16")),
        *sized("train_growth", "train_memory", sizes, "--turns", "3"),
        Job("profile_training", "benchmarks.profiles", ("training", "--items", str(max(sizes)))),
    ]


def search(sizes: Sizes) -> list[Job]:
    """Beam search and full scan, and a profile of a search."""
    profiled = ("search", "--items", str(max(sizes)))
    return [*sized("search_growth", "search", sizes), Job("profile_search", "benchmarks.profiles", profiled)]


def trees(sizes: Sizes) -> list[Job]:
    """Tree learning, and planting, storing and comparing trees; a profile of tree learning."""
    return [
        *sized("tree_growth", "tree_learning", sizes, "--samples", "30000"),
        Job("profile_tree", "benchmarks.profiles", ("tree", "--items", str(min(sizes)))),
        *sized("trees", "tree_work", sizes),
    ]


def preparation(sizes: Sizes) -> list[Job]:
    """Raw logs of growing numbers of rows to stored arrays."""
    jobs = []
    for rows in sizes:
        log, items = str(DATA / f"log_{rows}.csv"), max(1000, rows // 24)
        shape = {"--rows": rows, "--users": max(1, rows // 100), "--items": items, "--categories": items // 443 + 1}
        made = ("user-behavior", log, *(str(word) for pair in shape.items() for word in pair))
        jobs += [
            Job(f"make_log_{rows}", "benchmarks.logs", made, about={"rows": rows}),
            Job(f"preparation_{rows}", "benchmarks.preparation", ("--csv", log, "--format", "user_behavior"), about={"rows": rows}),
        ]
    return jobs


def side_by_side(sizes: Sizes) -> list[Job]:
    """One world, every system in its own process; later ones read what product-DNN left."""
    jobs = []
    for items in sizes:
        folder, about = str(DATA / f"rivals_{items}"), {"items": items}
        systems = (
            ("jtm",),
            ("counting", "popularity"),
            ("counting", "item-cf"),
            ("product",),
            ("faiss_search", "flat"),
            ("faiss_search", "hnsw"),
            ("implicit_models", "als"),
            ("implicit_models", "cosine"),
            ("pecos",),
        )
        world = (folder, "--items", str(items), "--users", str(max(1000, items * 3 // 5)))
        jobs.append(Job(f"world_{items}", "benchmarks.rivals.world", world, about=about))
        for module, *kind in systems:
            name = f"{'_'.join([module, *kind])}_{items}".replace("-", "_")
            jobs.append(Job(name, f"benchmarks.rivals.{module}", (*kind, folder), 1200, about))
    return jobs


THEMES: dict[str, tuple[Callable[[Sizes], list[Job]], tuple[int, ...]]] = {
    "core": (core, (10_000, 100_000, 1_000_000, 4_000_000)),
    "search": (search, (10_000, 100_000, 1_000_000, 1_500_000, 4_000_000)),
    "trees": (trees, (10_000, 100_000, 1_000_000)),
    "preparation": (preparation, (1_000_000, 10_000_000)),
    "side_by_side": (side_by_side, (50_000,)),
}
"""Theme -> its jobs for given sizes, and the sizes of the full run (items; rows of the log for ``preparation``)."""
