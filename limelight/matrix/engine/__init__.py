"""How a pass over the matrix is cut and executed: plan, threads, dispatch, and the backends tiled, native, triton."""
