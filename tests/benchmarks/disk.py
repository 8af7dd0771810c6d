"""States to disk and back, against pyarrow alone on the same array."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Measured, fastest
from material import SITES, scratch_folder

from tokentrails.files.states import StatesReader, StatesWriter, places

N, DEPTH, WIDTH = 2000, 30, 576


def results() -> Iterator[Measured]:
    at = places(SITES, DEPTH)
    states = np.random.default_rng(0).standard_normal((len(at), N, WIDTH), dtype=np.float32)
    rows = np.random.default_rng(1).permutation(N).reshape(8, -1)  # batches come by length
    batches_of_states = [np.ascontiguousarray(states[:, some]) for some in rows]
    with scratch_folder() as folder:

        def ours() -> None:
            path = f"{folder}/ours.parquet"
            with StatesWriter(path, at, range(N), WIDTH) as writer:
                for some, block in zip(rows, batches_of_states, strict=True):
                    writer.add(some, block)
                writer.finish({})
            for _ in StatesReader(path):
                pass

        def pyarrow_alone() -> None:
            path = f"{folder}/pyarrow.parquet"
            schema = pa.schema([("hidden", pa.fixed_shape_tensor(pa.float32(), [WIDTH]))])
            with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
                for layer in states:
                    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(layer)
                    writer.write_table(pa.table([tensor], schema=schema), row_group_size=N)
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                file.read_row_group(group)["hidden"].combine_chunks().to_numpy_ndarray()

        alone, own = fastest(pyarrow_alone, ours)
    yield Measured(
        "states to disk and back, against pyarrow alone", alone / own, "of its speed", at_least=0.8
    )
