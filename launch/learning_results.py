#!/usr/bin/env python3
"""Gathers the finished runs of launch/learning.sh.

Standard input: one line for each method, separated by tabs: name, run folder, the words of its
command. Writes OUT (JSON), for a file also a picture beside it (OUT with .svg), and prints the table
of docs/balancing.md.
"""
import json
import os
import shlex
import sys

KEYS = ("steps", "excess_loss", "val_nll", "val_nll_token_choice", "val_nll_whole_batch",
        "max_vio_global", "domain_mi", "drop_rate")


def result_of(folder, words):
    with open(os.path.join(folder, "summary.json")) as file:
        summary = json.load(file)
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        evaluations = [json.loads(line) for line in file if '"event":"eval"' in line]
    result = {"command": shlex.join(words)}
    result.update({key: summary[key] for key in KEYS if summary.get(key) is not None})
    result["dead_experts"] = int(sum(evaluations[-1]["moe"]["dead_experts"]))
    return result


def table(methods):
    lines = ["| method | excess_loss | max_vio_global | dead experts | domain_mi |", "|---|---|---|---|---|"]
    for name, m in methods.items():
        lines.append("| `{}` | {:.4f} | {:.3f} | {} | {:.2f} |".format(
            name, m["excess_loss"], m["max_vio_global"], m["dead_experts"], round(m["domain_mi"], 2) + 0.0))
    return "\n".join(lines)


def picture(methods):
    """One row a method, best first: excess loss on the left, imbalance on the right."""
    rows = sorted(methods.items(), key=lambda item: item[1]["excess_loss"])
    row, top, left, width, gap = 20, 64, 170, 300, 60
    height = top + row * len(rows) + 24
    panels = (("excess_loss", "excess loss, nats above the corpus's entropy", left),
              ("max_vio_global", "max_vio_global, 0 = perfectly even", left + width + gap))
    total = left + 2 * width + gap + 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" role="img" '
             'aria-labelledby="title" font-family="system-ui, sans-serif" font-size="12">',
             '<title id="title">Excess loss and load imbalance of every balancing method after 800 steps</title>',
             '<style>text { fill: #1f2933; } .tick { fill: #52606d; font-size: 11px; } '
             '.bar { fill: #9ab8d6; } .grid { stroke: #d3d9df; stroke-dasharray: 3 3; }</style>',
             f'<rect width="{total}" height="{height}" rx="8" fill="#ffffff"/>']
    for key, label, x in panels:
        largest = max(m[key] for _, m in rows) or 1
        parts.append(f'<text x="{x}" y="30" font-weight="600">{label}</text>')
        for share in (0, 0.5, 1):
            at = x + width * share
            parts.append(f'<line class="grid" x1="{at:.1f}" y1="{top - 8}" x2="{at:.1f}" y2="{height - 16}"/>')
            parts.append(f'<text class="tick" x="{at:.1f}" y="{top - 14}" text-anchor="middle">'
                         f'{largest * share:.3g}</text>')
    for i, (name, m) in enumerate(rows):
        y = top + row * i
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{name}</text>')
        for key, _, x in panels:
            largest = max(other[key] for _, other in rows) or 1
            length = width * m[key] / largest
            parts.append(f'<rect class="bar" x="{x}" y="{y + 3}" width="{length:.1f}" height="13"/>')
            parts.append(f'<text class="tick" x="{x + length + 4:.1f}" y="{y + 13}">{m[key]:.3f}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def main():
    out = sys.argv[1]
    methods = {}
    for line in sys.stdin:
        name, folder, *words = line.rstrip("\n").split("\t")
        try:
            methods[name] = result_of(folder, words)
        except OSError:  # not finished
            continue
    with open(out, "w") as file:
        json.dump({"methods": methods}, file, indent=1)
        file.write("\n")
    if out.endswith(".json") and methods:
        with open(out[:-len(".json")] + ".svg", "w") as file:
            file.write(picture(methods))
    print(table(methods))


main()
