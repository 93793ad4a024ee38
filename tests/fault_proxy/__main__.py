"""``python3 -m fault_proxy --listen N --to PORT``; names of faults come on standard input."""

import argparse
import asyncio
import sys

from fault_proxy.proxy import Fault, FaultProxy


async def main() -> None:
    """Pass on until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--to", type=int, required=True)
    given = parser.parse_args()
    proxy = FaultProxy(given.to)
    proxy.port = given.listen
    await proxy.start()
    while line := await asyncio.to_thread(sys.stdin.readline):
        await proxy.now(Fault(line.strip()))
        print(line.strip(), flush=True)
    await proxy.stop()


if __name__ == "__main__":
    asyncio.run(main())
