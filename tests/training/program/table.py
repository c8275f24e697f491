"""A program that writes its table as Stable-Baselines3's logger does: anew, when another column comes."""

from __future__ import annotations

import argparse
import time

from stable_baselines3.common.logger import CSVOutputFormat

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--file", required=True)
args = parser.parse_args()

table = CSVOutputFormat(args.file)
for number in range(1, 11):
    row: dict[str, float] = {"steps": number * args.steps // 10, "return": number}
    if number > 1:
        row["loss"] = 1 / number
    table.write(row, dict.fromkeys(row))
    time.sleep(0.3)
table.close()
