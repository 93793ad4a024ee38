"""The benchmarks of the appliance: each module measures one promise, with a baseline of the same run beside it."""
