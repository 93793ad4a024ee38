"""The run as a whole: the order of the measurements, and what is left of them."""

import argparse
import os
import sys
from pathlib import Path

from benchlib import channels, claude, conversation, egress, fan_out, keeping, routing, starting, task_runs, tasks
from benchlib.appliance import GROUP, Appliance
from benchlib.chat import Chat
from benchlib.population import Population
from benchlib.progress import step
from benchlib.results import Result, table, write_json

SLEEPY_SECONDS = 1
LONG_SECONDS = 600
TASKS_AWAKE = 16


def main() -> None:
    """Measure everything once; the exit code is 1 where something could not be measured."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures the appliance of the machine it runs on.")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the results go")
    parser.add_argument("--fan-out", type=Path, metavar="STATE", help="measure the fan-out only, below this directory")
    parser.add_argument("--claude", action="store_true", help="measure the provider claude only")
    parser.add_argument("--channels", action="store_true", help="measure the chat channels only")
    parser.add_argument("--egress", action="store_true", help="measure the way out only")
    parser.add_argument("--tasks", action="store_true", help="measure a thousand tasks in their containers only")
    arguments = parser.parse_args()
    if arguments.fan_out is not None:
        _tell(arguments.json, fan_out.fan_out(arguments.fan_out))
        return
    if os.geteuid() != 0:
        sys.exit("bench: it configures the appliance and looks into its processes, so it runs as root, in a bed")
    if arguments.egress:
        _tell(arguments.json, _of_egress())
        return
    if arguments.tasks:
        _tell(arguments.json, _of_tasks(Appliance()))
        return
    if arguments.channels:
        _tell(arguments.json, channels.measure(Appliance()))
        return
    _tell(arguments.json, _of_claude() if arguments.claude else _measure())


def _tell(file: Path, results: list[Result]) -> None:
    write_json(file, results)
    sys.stdout.write(f"\n{table(results)}\n")


def _of_claude() -> list[Result]:
    appliance = Appliance()
    appliance.configure(idle=LONG_SECONDS)
    results = claude.measure(appliance)
    appliance.close()
    return results


def _of_egress() -> list[Result]:
    appliance = Appliance()
    appliance.configure(idle=LONG_SECONDS)
    appliance.make_group()
    results = egress.measure()
    appliance.close()
    return results


def _of_tasks(appliance: Appliance) -> list[Result]:
    appliance.configure(idle=LONG_SECONDS, max_awake=TASKS_AWAKE)
    results = task_runs.all_run(appliance)
    appliance.configure(idle=LONG_SECONDS)
    appliance.put_to_sleep()
    return results


def _measure() -> list[Result]:
    appliance = Appliance()
    step("a daemon with idle sessions that sleep soon")
    appliance.configure(idle=SLEEPY_SECONDS, max_awake=conversation.BURST)
    appliance.make_group()
    results = [starting.daemon(appliance), *starting.command()]
    chat = Chat(GROUP)
    chat.ask("make the session")
    cold = conversation.cold(appliance, chat)
    results += [cold.result, conversation.burst(appliance, cold.processor_seconds)]

    step("a daemon whose sessions stay awake")
    chat.close()
    appliance.configure(idle=LONG_SECONDS)
    chat = Chat(GROUP)
    session_id = appliance.session_of(f"root/{GROUP}")
    results.append(conversation.warm(appliance, chat, session_id))
    results.append(keeping.session_memory(appliance, session_id))
    chat.close()
    appliance.put_to_sleep()
    results += channels.measure(appliance)
    results += claude.measure(appliance)
    results += egress.measure()
    appliance.put_to_sleep()
    results += _of_tasks(appliance)

    step(f"making {keeping.SIZES[-1]} sessions")
    population = Population(appliance, (0, *keeping.SIZES))
    appliance.stop()
    population.make(session_id)
    appliance.start()
    results += keeping.growth(appliance, population)
    keeping.become(appliance, population, keeping.IDLE_SIZE)
    results += keeping.idle(appliance)
    appliance.close()
    return [*results, routing.decisions(), *fan_out.fan_out(appliance.state), *tasks.due_at_once(appliance.state)]
