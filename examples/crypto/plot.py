"""Draws the report as SVG: requests a second by number of workers, and latency over time."""

from html import escape

WIDTH, HEIGHT = 760, 560
LEFT, RIGHT = 70, 740
# A bucket of the second chart, in seconds.
BUCKET = 0.25


def plot(report):
    body = [*draw_rates(report["rates"], 40, 220), *draw_latencies(report["scaling"], 300, 500)]
    note = f"{report['processors']} processors, {report['connections']} requests under way at a time"
    body.append(text(LEFT, HEIGHT - 8, note))
    style = (
        "text { font: 12px sans-serif; fill: #333 } .axis { stroke: #999 } .mark { stroke: #bbb; stroke-dasharray: 3 }"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
    back = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([head, f"<style>{style}</style>", back, *body, "</svg>", ""])


def draw_rates(rates, top, bottom):
    most = max(row["rate"] for row in rates) or 1
    step = (RIGHT - LEFT) / len(rates)
    yield text(LEFT, top - 16, "requests a second by number of workers")
    yield line(LEFT, bottom, RIGHT, bottom)
    for index, row in enumerate(rates):
        x, height = LEFT + index * step, row["rate"] / most * (bottom - top)
        middle = x + step / 2
        box = f'x="{x + step / 4:.1f}" y="{bottom - height:.1f}" width="{step / 2:.1f}" height="{height:.1f}"'
        yield f'<rect {box} fill="#4a7"/>'
        yield text(middle, bottom - height - 4, f"{row['rate']:.0f}", "middle")
        yield text(middle, bottom + 16, row["workers"], "middle")


def draw_latencies(scaling, top, bottom):
    points = scaling["latencies"]
    # Where nothing was answered, the chart has its axes only.
    end = max((at for at, _ in points), default=0) or 1
    most = max((latency for _, latency in points), default=0) or 1
    buckets = {}
    for at, latency in points:
        buckets.setdefault(int(at / BUCKET), []).append(latency)

    def x(at):
        return LEFT + at / end * (RIGHT - LEFT)

    def y(latency):
        return bottom - latency / most * (bottom - top)

    yield text(
        LEFT,
        top - 44,
        "latency in milliseconds while workers come and go: median, and maximum (thin), each quarter second",
    )
    yield line(LEFT, bottom, RIGHT, bottom)
    yield line(LEFT, bottom, LEFT, top)
    for part in (0, 0.5, 1):
        yield text(LEFT - 6, y(most * part) + 4, f"{most * part:.0f}", "end")
    for index, step in enumerate(scaling["steps"]):
        yield line(x(step["at"]), bottom, x(step["at"]), top - 24 + index % 3 * 12, "mark")
        yield text(x(step["at"]) + 3, top - 16 + index % 3 * 12, step["step"])
    for pick, width, color in ((max, 0.7, "#c73"), (median, 2, "#4a7")):
        path = " ".join(f"{x(key * BUCKET):.1f},{y(pick(row)):.1f}" for key, row in sorted(buckets.items()))
        yield f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'
    for at in range(0, int(end) + 1, max(1, int(end / 10))):
        yield text(x(at), bottom + 16, f"{at} s", "middle")


def median(row):
    return sorted(row)[len(row) // 2]


def line(x1, y1, x2, y2, kind="axis"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def text(x, y, words, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(str(words))}</text>'
