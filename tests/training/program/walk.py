"""The walk of `trainers` as a program: its reports are lines of JSON, of CSV, or words."""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--drift", type=float, default=0.5)
parser.add_argument("--momentum", type=float, default=0.0)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--until", type=int)
parser.add_argument("--out", choices=["json", "csv", "words"], default="json")
parser.add_argument("--state", type=Path)
parser.add_argument("--file", type=Path)
parser.add_argument("--fail", choices=["no", "exit", "raise", "nan", "early", "kill"], default="no")
args = parser.parse_args()

state = {"env_steps": 0, "value": 0.0}
if args.state and args.state.exists():
    state = json.loads(args.state.read_text())
out = args.file.open("a", buffering=1) if args.file else sys.stdout
print("walking", file=sys.stderr)
if args.out == "csv":
    print("global_step,episode_reward,note", file=out)
while state["env_steps"] < (args.until or args.steps):
    state["env_steps"] += args.steps // 20
    state["value"] += args.drift + args.momentum + random.Random(args.seed * 1_000_003 + state["env_steps"]).gauss()
    value = float("nan") if args.fail == "nan" else state["value"]
    if args.out == "json":
        print(json.dumps({"env_steps": state["env_steps"], "return": value, "loss": 1.0}), file=out, flush=True)
    elif args.out == "csv":
        print(f"{state['env_steps']},{value!r},", file=out, flush=True)
    else:
        print(f"step={state['env_steps']}, return=[{value!r}]", file=out, flush=True)
    if args.state:
        beside = args.state.with_suffix(".new")
        beside.write_text(json.dumps(state))
        beside.replace(args.state)
    if args.fail == "exit":
        print("out of patience", file=sys.stderr)
        sys.exit(3)
    if args.fail == "raise":
        raise RuntimeError("the simulator is gone")
    if args.fail == "early":
        break
    if args.fail == "kill":
        import os
        import signal

        os.kill(os.getpid(), signal.SIGSEGV)
